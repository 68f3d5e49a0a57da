"""Model files that somebody overwrites, truncates or replaces while a session is there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from furiosa.runtime import errors, session
from furiosa.runtime import source as sources
from furiosa.runtime.bundle import writer
from furiosa.runtime.bundle.reader import Bundle
from furiosa.runtime.testing.enf_files import table_enf

X = np.arange(64, dtype=np.int8).reshape(1, 1, 1, 64)
OTHER = np.roll(np.arange(256, dtype=np.uint8), 7)
SMALL, LARGE = 0, 3 << 20  # bytes of constants: read by create, and on a thread that the first run waits for


def model(folder: Path, form: str, padding: int, table: np.ndarray | None = None) -> tuple[Path, str]:
    """A file with a model, and what to call the model."""
    enf, tar = folder / "live.enf", folder / "live.tar"
    enf.write_bytes(table_enf(table, padding=padding))
    if form == "enf":
        return enf, str(enf)
    writer.pack(tar, [("m", enf)])
    return tar, f"{tar}#m"


@pytest.fixture(params=["enf", "bundle"])
def form(request):
    return request.param


@pytest.fixture(params=[SMALL, LARGE], ids=["small", "large"])
def padding(request):
    return request.param


@pytest.fixture
def live(tmp_path, form, padding):
    return model(tmp_path, form, padding)


@pytest.fixture
def new(tmp_path, form, padding) -> bytes:
    """What is copied over the file: as long, and as sound."""
    (tmp_path / "new").mkdir()
    path, _ = model(tmp_path / "new", form, padding, OTHER)
    return path.read_bytes()


def overwritten(path: Path, new: bytes) -> None:
    with open(path, "r+b") as f:
        f.write(new)


def truncated(path: Path, new: bytes) -> None:
    os.truncate(path, 0)


def replaced(path: Path, new: bytes) -> None:
    path.with_suffix(".new").write_bytes(new)
    os.replace(path.with_suffix(".new"), path)


def removed(path: Path, new: bytes) -> None:
    path.unlink()


Change = Callable[[Path, bytes], None]
CHANGES = [overwritten, truncated, replaced, removed]


@pytest.mark.parametrize("change", CHANGES)
def test_a_loaded_session_answers_from_what_it_loaded(live, new, change: Change):
    """Workers that come later, too."""
    path, name = live
    with session.create(name, worker_num=3) as sess:
        sess.run(X)  # waits for what is still being read
        change(path, new)
        sess.warm_up(X)
        assert sess.run(X)[0] == -1 - X


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_before_the_first_run(live, new, change: Change):
    """The old model's answer or a sentence, and that every time."""
    path, name = live
    with session.create(name) as sess:
        change(path, new)
        for _ in range(3):
            try:
                assert sess.run(X)[0] == -1 - X
            except errors.IncompatibleModel as e:
                assert change in (overwritten, truncated) and "changed while it was read" in str(e)


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_while_it_is_read(live, new, change: Change):
    """Between opening it and reading it."""
    path, name = live
    source = sources.read(name)
    change(path, new)
    if change in (replaced, removed):  # what was opened is still there
        with session.create(source) as sess:
            assert sess.run(X)[0] == -1 - X
        assert hash(source.read())
        return
    with pytest.raises(
        errors.IncompatibleModel, match=r"live\.(enf|tar#m): it was changed while it was read"
    ):
        session.create(source)
    with pytest.raises(errors.IncompatibleModel, match="changed while it was read"):
        source.read()


@pytest.mark.parametrize("change", [overwritten, truncated])
def test_a_bundle_that_changes_while_it_is_read(tmp_path, padding, change: Change):
    path, _ = model(tmp_path, "bundle", padding)
    (tmp_path / "new").mkdir()
    new = model(tmp_path / "new", "bundle", padding, OTHER)[0].read_bytes()
    bundle = Bundle.open(path)
    change(path, new)
    for use in (bundle.verify, lambda: bundle.unpack(tmp_path / "out")):
        with pytest.raises(errors.BundleError, match="changed while it was read|is damaged"):
            use()
    assert sorted(os.listdir(tmp_path)) == ["live.enf", "live.tar", "new"]


def test_bytes_that_change():
    data = bytearray(table_enf(padding=LARGE))
    with session.create(data) as sess, session.create(memoryview(data)) as other:
        data[:] = table_enf(OTHER, padding=LARGE)
        assert sess.run(X)[0] == -1 - X and other.run(X)[0] == -1 - X


def test_sessions_hold_no_descriptor(live):
    before = set(os.listdir("/proc/self/fd"))
    sessions = [session.create(live[1]) for _ in range(20)]
    for sess in sessions:
        sess.run(X)
    assert set(os.listdir("/proc/self/fd")) <= before
    for sess in sessions:
        sess.close()


def test_what_is_no_regular_file(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", "/dev/zero"):
        with pytest.raises(OSError, match="not a regular file"):
            session.create(path)
