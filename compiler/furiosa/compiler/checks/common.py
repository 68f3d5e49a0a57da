"""What the checks share: exit codes, the parser, and reading a report."""

from __future__ import annotations

import json
from typing import Any

from furiosa.enf import command
from furiosa.enf.command import INVALID_FORMAT, IO_ERROR, CommandError


class Parser(command.Parser):
    """``@FILE`` stands for the arguments in FILE, one a line."""

    def __init__(self, prog: str, description: str | None):
        super().__init__(prog=prog, description=description, fromfile_prefix_chars="@", allow_abbrev=False)


def not_a_report(path: str) -> CommandError:
    """The error for a file that is no report."""
    return CommandError(INVALID_FORMAT, f"{path} is not the report of a compilation; see docs/report.md")


def read_report(path: str) -> dict[str, Any]:
    """Reads a report.

    Raises:
        CommandError: it cannot be read, or is no report.
    """
    try:
        with open(path, encoding="ascii") as f:
            report = json.load(f)
    except OSError as e:
        raise CommandError(IO_ERROR, f"cannot read {path}: {e.strerror or e}") from None
    except (ValueError, RecursionError):
        report = None
    if not isinstance(report, dict) or not isinstance(report.get("operators"), list):
        raise not_a_report(path)
    return report
