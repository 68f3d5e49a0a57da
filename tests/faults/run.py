"""The long run: ``bazel run //tests:faults_run`` prints a table of injected faults.

Every moment of each kind; ``--kinds`` names some by parts of their names.  The exit status is 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.faults import kinds


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--kinds", nargs="+", metavar="TEXT", default=[""], help="parts of the names of kinds"
    )
    parser.add_argument(
        "--factor", type=int, metavar="N", help="only the bounded run, with N times as many moments"
    )
    parser.add_argument(
        "--most", type=int, metavar="N", help="of what cannot be counted only N moments, not a thousand"
    )
    options = parser.parse_args(arguments)
    print(
        "| fault | moments | wrong | hangs | crashes | what came of them | s |\n|---|---|---|---|---|---|---|"
    )
    findings = 0
    for name in kinds.KINDS:
        if not any(text in name for text in options.kinds):
            continue
        begun = time.monotonic()
        tally = kinds.sample(name, options.factor) if options.factor else kinds.everything(name, options.most)
        bad = [str(tally.words.pop(word, 0)) for word in ("wrong", "hang", "crash")]
        moments = sum(map(int, bad)) + tally.trials - tally.words.pop(kinds.PAST, 0)
        words = ", ".join(f"{word} {n}" for word, n in sorted(tally.words.items()))
        print(
            f"| {name} | {moments} | {' | '.join(bad)} | {words} | {time.monotonic() - begun:.0f} |",
            flush=True,
        )
        for number, word, text in tally.findings[:3]:
            print(f"\n{name}, number {number}: {word}\n{text}\n", file=sys.stderr, flush=True)
        findings += len(tally.findings)
    return int(findings > 0)


if __name__ == "__main__":
    sys.exit(main())
