"""Counts the test cases of a `bazel test`: prints one line for each that failed, then `N passed, N failed`.

usage: summarize.py BUILD_EVENTS EXIT_CODE CHECKS_PASSED CHECKS_FAILED

BUILD_EVENTS is the file of --build_event_json_file, EXIT_CODE what Bazel ended with, and the checks are
those that ran outside of Bazel.  Skipped cases are counted by themselves.  What has no cases to count is
one failure: a target that was not built or crashed, and a Bazel that failed without naming a target.
Exit code: 0 if nothing failed and something passed, else 1.
"""

from __future__ import annotations

import json
import sys
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree


def read_events(path: str) -> tuple[dict, dict]:
    """The last result of each test run, by (label, run, shard), and each test's overall status by label."""
    results, statuses = {}, {}
    with open(path, encoding="utf-8") as events:
        for line in events:
            event = json.loads(line)
            kind = event["id"]
            if "testResult" in kind:
                run = kind["testResult"]
                key = (run["label"], run.get("run", 1), run.get("shard", 1))
                results[key] = event.get("testResult", {})
            elif "testSummary" in kind:
                status = event.get("testSummary", {}).get("overallStatus", "NO_STATUS")
                statuses[kind["testSummary"]["label"]] = status
            elif "targetCompleted" in kind:
                left_out = event.get("aborted", {}).get("reason") == "SKIPPED"
                if not left_out and not event.get("completed", {}).get("success"):
                    statuses.setdefault(kind["targetCompleted"]["label"], "NOT_BUILT")
    return results, statuses


def count_cases(result: dict) -> tuple[int, int, int]:
    """(passed, failed, skipped) test cases of one run's test.xml; zeros where there is none to read."""
    uri = next((o.get("uri", "") for o in result.get("testActionOutput", []) if o["name"] == "test.xml"), "")
    try:
        root = ElementTree.parse(unquote(urlsplit(uri).path)).getroot()
    except (OSError, ElementTree.ParseError):
        return 0, 0, 0
    passed = failed = skipped = 0
    for case in root.iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif case.find("skipped") is not None:
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def main(events: str, exit_code: str, checks_passed: str, checks_failed: str) -> int:
    """Prints the summary; returns the exit code."""
    try:
        results, statuses = read_events(events)
    except (OSError, ValueError) as e:
        print(f"FAILED: no complete build events: {e}")
        results, statuses = {}, {}
    passed, failed, skipped = int(checks_passed), int(checks_failed), 0
    failed_targets = 0
    for label, status in sorted(statuses.items()):
        cases = [count_cases(result) for key, result in results.items() if key[0] == label]
        ok, bad, left_out = (sum(column) for column in zip(*cases, strict=True)) if cases else (0, 0, 0)
        if status not in ("PASSED", "FLAKY"):
            bad = bad or 1
            failed_targets += 1
            print(f"FAILED: {label} ({status}, {bad} of {ok + bad + left_out} cases)")
        elif not cases or ok + bad + left_out == 0:
            ok = 1  # a test without a report of its cases
        passed, failed, skipped = passed + ok, failed + bad, skipped + left_out
    if exit_code != "0" and not failed_targets:
        failed += 1
        print(f"FAILED: bazel itself, with exit code {exit_code}")
    print(f"{len(statuses)} targets, {skipped} skipped cases")
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
