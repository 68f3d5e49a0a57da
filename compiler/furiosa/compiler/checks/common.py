"""What the checks share: exit codes, the parser, and reading a report."""

from __future__ import annotations

import argparse
import json
from typing import Any, NoReturn

FOUND, UNREADABLE, INVALID, BAD_ARGUMENTS = 1, 2, 4, 255  # exit codes, as in docs/cli.md


class Failed(Exception):
    """A sentence for the user and an exit status."""

    def __init__(self, status: int, sentence: str):
        super().__init__(sentence)
        self.status = status


class Parser(argparse.ArgumentParser):
    """``@FILE`` stands for the arguments in FILE, one a line.

    Raises:
        Failed: the arguments cannot be used.
    """

    def __init__(self, prog: str, description: str | None):
        super().__init__(prog=prog, description=description, fromfile_prefix_chars="@", allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise Failed(BAD_ARGUMENTS, f"{message}; see {self.prog} -h")


def not_a_report(path: str) -> Failed:
    """The error for a file that is no report."""
    return Failed(INVALID, f"{path} is not the report of a compilation; see docs/report.md")


def read_report(path: str) -> dict[str, Any]:
    """Reads a report.

    Raises:
        Failed: it cannot be read, or is no report.
    """
    try:
        with open(path, encoding="ascii") as f:
            report = json.load(f)
    except OSError as e:
        raise Failed(UNREADABLE, f"cannot read {path}: {e.strerror or e}") from None
    except (ValueError, RecursionError):
        report = None
    if not isinstance(report, dict) or not isinstance(report.get("operators"), list):
        raise not_a_report(path)
    return report
