"""A run that is guided by coverage: what reaches new code of the project is damaged further.  Needs the package atheris.

``python -m tests.fuzz.guided onnx --minutes 10 --keep FOLDER``: the folder keeps the corpus, and the files with findings
as crash-*, timeout-* and oom-*.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import sys

SECONDS = 10  # for one case
MEMORY = 3 << 10  # MiB in all


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=("onnx", "tflite", "enf", "bundle"))
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--keep", required=True, metavar="FOLDER")
    options = parser.parse_args()
    try:
        import atheris
    except ModuleNotFoundError:
        sys.exit("the package atheris is not installed: use python -m tests.fuzz.run")
    with atheris.instrument_imports(include=["furiosa"], exclude=["furiosa.enf.enf_pb2"]):
        from tests.fuzz import checks, mutate

        target = checks.TARGETS_BY_NAME[options.target]
        seeds = target.seeds()
        for data in seeds:
            checks.outcome(options.target, 0, data)
    corpus = os.path.join(options.keep, f"{options.target}_corpus")
    os.makedirs(corpus, exist_ok=True)
    for i, data in enumerate(seeds):
        with open(os.path.join(corpus, f"seed_{i}"), "wb") as f:
            f.write(data)

    def change(data: bytes, max_size: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if rng.random() < 0.8:
            # of a file of the corpus that is no whole one of its format the fields cannot be damaged
            with contextlib.suppress(Exception):
                return target.change(data, rng)[:max_size]
        return mutate.damage(data, rng.choice(seeds), rng)[:max_size]

    def one(data: bytes) -> None:
        checks.outcome(options.target, 0, data)

    arguments = [
        sys.argv[0],
        f"-max_total_time={int(60 * options.minutes)}",
        f"-timeout={SECONDS}",
        f"-rss_limit_mb={MEMORY}",
        f"-max_len={mutate.MAX_BYTES}",
        f"-artifact_prefix={options.keep}/",
        "-print_final_stats=1",
        corpus,
    ]
    atheris.Setup(arguments, one, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
