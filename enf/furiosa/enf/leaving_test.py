"""Signals at any time: the right status, silence, and nothing left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PRELUDE = """
import os, signal, sys, time
from furiosa.enf import leaving
from furiosa.enf.outputs import Outputs, temporary_folder
leaving.on_signals()
def send(number=signal.SIGINT): os.kill(os.getpid(), number)
"""
NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(code: str, folder: Path, *, ignored: tuple[int, ...] = ()) -> tuple[int, str]:
    """Status and stderr of a Python process."""

    def prepare() -> None:
        for number in NUMBERS:
            signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)
        if signal.SIGINT not in ignored:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    process = subprocess.run(
        [sys.executable, "-c", PRELUDE + code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
        preexec_fn=prepare,
    )
    return process.returncode, process.stderr


@pytest.mark.parametrize("number", NUMBERS)
def test_the_process_ends_at_once(tmp_path, number):
    code = f"try:\n    send({number:d})\nfinally:\n    print('never', file=sys.stderr)"
    assert run(code, tmp_path) == (128 + number, "")


@pytest.mark.parametrize("number", NUMBERS)
def test_whoever_ignores_them_keeps_that(tmp_path, number):
    """As a shell does for what it starts in the background, and nohup."""
    assert run(
        f"send({number:d}); leaving.watch(); send({number:d}); sys.exit(7)", tmp_path, ignored=(number,)
    ) == (
        7,
        "",
    )


def test_a_handler_of_somebody_elses_stays(tmp_path):
    code = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(9)); leaving.on_signals(); send(signal.SIGTERM)"
    assert run(f"leaving.no_more(); {code}", tmp_path) == (9, "")


def test_no_more(tmp_path):
    assert run(
        "leaving.no_more()\ntry:\n    send()\nexcept KeyboardInterrupt:\n    sys.exit(7)", tmp_path
    ) == (7, "")
    assert run("leaving.no_more(); send(signal.SIGTERM)", tmp_path) == (-signal.SIGTERM, "")


def test_what_was_begun_is_undone(tmp_path):
    (tmp_path / "old").write_text("of yesterday")
    code = (
        "with Outputs() as outputs, temporary_folder('tree') as tree:\n"
        "    for name in ('old', 'new'): outputs.open(name).write(b'half')\n"
        "    open(os.path.join(tree, 'f'), 'w').close()\n"
        "    assert len(os.listdir()) == 4\n"
        "    send(signal.SIGTERM)"
    )
    assert run(code, tmp_path) == (143, "")
    assert os.listdir(tmp_path) == ["old"] and (tmp_path / "old").read_text() == "of yesterday"


def test_what_is_done_stays(tmp_path):
    code = "with Outputs() as outputs:\n    outputs.open('new').write(b'whole')\nsend()"
    assert run(code, tmp_path) == (130, "")
    assert (tmp_path / "new").read_bytes() == b"whole" and not leaving_anything(tmp_path, "new")


def leaving_anything(folder: Path, *names: str) -> list[str]:
    return [n for n in os.listdir(folder) if n not in names]


def test_outputs_appear_all_together(tmp_path):
    """A signal between two renames comes after the last."""
    code = (
        "replace = os.replace\n"
        "def slow(a, b): replace(a, b); send()\n"
        "os.replace = slow\n"
        "with Outputs() as outputs:\n"
        "    for name in 'abc': outputs.open(name).write(name.encode())\n"
        "sys.exit(7)"
    )
    assert run(code, tmp_path) == (130, "")
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "c"]


def test_an_undo_that_fails_keeps_no_other_from_it(tmp_path):
    code = (
        "leaving.undo(1, lambda: open('first', 'w').close())\n"
        "leaving.undo(2, lambda: 1 / 0)\n"
        "leaving.undo(3, lambda: open('third', 'w').close()); leaving.done(3)\n"
        "leaving.done(4)\n"
        "send()"
    )
    assert run(code, tmp_path) == (130, "")
    assert os.listdir(tmp_path) == ["first"]


def test_twice_in_a_row(tmp_path):
    code = "leaving.undo(1, lambda: send(signal.SIGTERM) or time.sleep(0.1))\nleaving.undo(2, send)\nsend()"
    assert run(code, tmp_path)[0] in (130, 143)


@pytest.mark.parametrize("number", NUMBERS)
def test_native_code_is_no_obstacle(tmp_path, number):
    """A function of C that computes for half a minute, without the interpreter's lock, as a runtime does."""
    code = PRELUDE + (
        "import hashlib\n"
        "leaving.undo(1, lambda: open('undone', 'w').close())\n"
        "leaving.watch()\n"
        "print('ready', flush=True)\n"
        "hashlib.pbkdf2_hmac('sha256', b'', b'', 1 << 26)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"ready\n"
    time.sleep(0.2)
    begun = time.monotonic()
    process.send_signal(number)
    assert process.wait(60) == 128 + number
    assert time.monotonic() - begun < 5 and os.listdir(tmp_path) == ["undone"]
    process.stdout.close()


def test_a_fork_undoes_nothing_of_its_parents(tmp_path):
    code = (
        "leaving.watch(); leaving.undo(1, lambda: open('undone', 'w').close())\n"
        "with leaving.held():\n"
        "    pid = os.fork()\n"
        "if pid == 0:\n"
        "    with leaving.held(): pass\n"
        "    send(signal.SIGHUP)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 129 and os.listdir() == []\n"
        "time.sleep(1)\n"  # the thread that watches hears nothing of the child's signal
        "send()"
    )
    assert run(code, tmp_path) == (130, "")
    assert os.listdir(tmp_path) == ["undone"]
