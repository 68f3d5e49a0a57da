"""Outputs: all of them or none, whatever lies at their place."""

from __future__ import annotations

import errno
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from furiosa.enf import outputs
from furiosa.enf.outputs import Outputs, abandoned, replacing


def write(path: str | Path, content: bytes = b"new") -> None:
    with replacing(path) as f:
        f.write(content)


def test_nothing_is_seen_before_the_end(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"old")
    with Outputs() as made:
        made.open(str(a)).write(b"new")
        made.open(b).write(b"b")
        assert a.read_bytes() == b"old" and not b.exists()
    assert (a.read_bytes(), b.read_bytes()) == (b"new", b"b")
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_an_error_removes_what_was_written(tmp_path, error):
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(error), Outputs() as made:
        made.open(tmp_path / "a").write(b"new")
        made.open(tmp_path / "b")
        raise error
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_a_file_that_cannot_be_renamed_leaves_no_temporary_file(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionError) as e:
        write(tmp_path / "a")
    assert e.value.filename == str(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


# -- what lies there ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_a_file_keeps_its_mode(tmp_path, mode):
    (tmp_path / "a").touch(mode)
    (tmp_path / "a").chmod(mode)
    write(tmp_path / "a")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode


def test_a_new_file_has_the_mode_that_the_process_gives(tmp_path):
    old = os.umask(0o027)
    try:
        write(tmp_path / "a")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_a_link_stays_and_its_file_is_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder/file")
    write(tmp_path / "link", b"1")
    write(tmp_path / "link", b"2")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder/file").read_bytes() == b"2"
    assert os.listdir(tmp_path / "folder") == ["file"]


def test_a_device_is_written_to(tmp_path):
    before = os.stat(os.devnull)
    write(os.devnull)
    (tmp_path / "link").symlink_to(os.devnull)
    write(tmp_path / "link")
    after = os.stat(os.devnull)
    assert (before.st_ino, before.st_rdev) == (after.st_ino, after.st_rdev)
    assert (tmp_path / "link").is_symlink() and os.listdir(tmp_path) == ["link"]


def test_a_pipe_is_written_to(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    heard: list[bytes] = []
    reader = threading.Thread(target=lambda: heard.append(pipe.read_bytes()), daemon=True)
    reader.start()
    content = bytes(range(256)) * 4096  # more than a pipe holds
    write(pipe, content)
    reader.join(30)
    assert heard == [content]
    assert stat.S_ISFIFO(pipe.lstat().st_mode) and os.listdir(tmp_path) == ["pipe"]


def test_after_an_error_a_pipe_hears_nothing(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ValueError, match="x"), replacing(pipe) as f:  # nobody reads: opening it would wait
        f.write(b"half")
        raise ValueError("x")


def test_standard_output_by_its_name_may_be_a_file(tmp_path):
    script = (
        "from furiosa.enf.outputs import replacing\nwith replacing('/dev/stdout') as f: f.write(b'new')\n"
    )
    with (tmp_path / "a").open("wb") as out:
        out.write(b"before ")
        out.flush()
        subprocess.run([sys.executable, "-c", script], stdout=out, check=True, env=_environment())
    assert (tmp_path / "a").read_bytes() == b"before new"
    assert os.listdir(tmp_path) == ["a"]


def test_what_is_no_place_for_a_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as s:
        s.bind("socket")  # whose path may not be long
    for path, number, word in (
        ("", errno.ENOENT, "empty"),
        (tmp_path, errno.EISDIR, "folder"),
        (f"{tmp_path}/a/", errno.EISDIR, "folder"),
        (tmp_path / "none/a", errno.ENOENT, "create it first"),
        (tmp_path / "socket", errno.EINVAL, "neither a regular file"),
        (tmp_path / "nul\0l", errno.EINVAL, "null character"),
        (tmp_path / ("x" * 256), errno.ENAMETOOLONG, "long"),
    ):
        with pytest.raises(OSError, match=word) as e:
            write(path)
        assert e.value.errno == number and e.value.filename == str(path)
    assert os.listdir(tmp_path) == ["socket"]


def test_the_longest_names_and_any_bytes(tmp_path):
    for name in (b"x" * 255, "é".encode() * 127, b"\xff\xfe"):
        write(os.fsdecode(bytes(tmp_path) + b"/" + name))
        assert os.listdir(bytes(tmp_path)) == [name]
        os.unlink(bytes(tmp_path) + b"/" + name)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full, which is always full, is Linux's")
def test_no_space_names_the_file_and_leaves_the_others(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(OSError, match="No space left") as e, Outputs() as made:
        made.open(tmp_path / "a").write(b"new")
        made.open("/dev/full").write(b"new")
    assert e.value.filename == "/dev/full"
    assert (tmp_path / "a").read_bytes() == b"old" and os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("size", [10, 1 << 20], ids=["at the end", "on the way"])
def test_an_error_of_the_disk_names_the_file(tmp_path, size):
    with pytest.raises(OSError, match="File too large") as e, replacing(tmp_path / "a") as f:
        _fill(f, size)
    assert e.value.filename == str(tmp_path / "a")
    assert os.listdir(tmp_path) == []


def _fill(file, size: int) -> None:
    """Writes more than the process may: the kernel refuses."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5, hard))
    try:
        file.write(bytes(size))
        file.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# -- runs that were killed, and runs at the same time ---------------------------------------------------------------------

_KILLED = """
import os, signal, sys
from furiosa.enf.outputs import Outputs, temporary_folder
made = Outputs()
with made:
    for path in sys.argv[1:]:
        made.open(path).write(b"half")
    with temporary_folder(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def test_the_next_run_removes_what_a_killed_one_left(tmp_path):
    paths = [str(tmp_path / name) for name in ("a", "b")]
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", _KILLED, *paths], check=False, env=_environment())
        assert done.returncode == -signal.SIGKILL
        assert len(os.listdir(tmp_path)) == 3, "what the run before left is gone"
    with Outputs() as made:
        for path in paths:
            made.open(path).write(b"new")
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_runs_at_the_same_time_do_not_disturb_each_other(tmp_path):
    target, errors = tmp_path / "a", []

    def run(number: int) -> None:
        try:
            for _ in range(50):
                write(target, bytes([number]) * 10_000)
        except BaseException as e:  # noqa: BLE001  told below
            errors.append(e)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    content = target.read_bytes()
    assert len(content) == 10_000 and len(set(content)) == 1
    assert os.listdir(tmp_path) == ["a"]


def test_nothing_of_others_is_taken_for_abandoned(tmp_path):
    name = next(iter(_temporaries(tmp_path)))
    (tmp_path / "mine").write_bytes(b"mine")
    assert not abandoned(str(tmp_path / "mine"))
    (tmp_path / name).symlink_to("mine")
    write(tmp_path / "a")
    assert (tmp_path / name).is_symlink() and (tmp_path / "mine").read_bytes() == b"mine"


def _temporaries(folder: Path) -> list[str]:
    """The names that an output ``a`` has while it is written."""
    with replacing(folder / "a"):
        return [name for name in os.listdir(folder) if outputs.is_temporary(name)]
