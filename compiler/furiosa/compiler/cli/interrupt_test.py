"""Ctrl-C at any time: status 130 and silence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

PRELUDE = """
import os, signal, sys
from furiosa.compiler.cli import interrupt, main
interrupt.leave_at_once()
"""


def run(code: str, *, ignored: bool = False) -> tuple[int, str]:
    """Status and stderr of a Python process."""
    process = subprocess.run(
        [sys.executable, "-c", PRELUDE + code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_IGN if ignored else signal.default_int_handler
        ),
    )
    return process.returncode, process.stderr


KILL = "os.kill(os.getpid(), signal.SIGINT)\n"


def test_the_process_ends_at_once():
    assert run(f"try:\n    {KILL}finally:\n    print('never', file=sys.stderr)") == (130, "")


def test_files_are_removed():
    assert run(
        f"try:\n    with interrupt.cleaning_up():\n        {KILL}except KeyboardInterrupt:\n    sys.exit(7)"
    ) == (7, "")


def test_afterwards_it_ends_at_once_again():
    assert run(f"with interrupt.cleaning_up():\n    pass\ntry:\n    {KILL}finally:\n    sys.exit(7)") == (
        130,
        "",
    )


def test_a_caller_that_ignores_it_keeps_that():
    """As a shell does for what it starts in the background."""
    assert run(f"with interrupt.cleaning_up():\n    {KILL}{KILL}sys.exit(7)", ignored=True) == (7, "")


@pytest.mark.parametrize("command", ["main.main", "main.compile_main"])
def test_the_command_does_so(command):
    code = f"""
import furiosa.compiler.cli.compile as module
module.main = lambda argv: os.kill(os.getpid(), signal.SIGINT) or 7
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = ["furiosa"] + ["compile"] * ({command!r} == "main.main")
sys.exit({command}())
"""
    assert run(code) == (130, "")
