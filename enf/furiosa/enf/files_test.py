"""Files that change, shrink or are none while somebody reads them."""

from __future__ import annotations

import os

import pytest

from furiosa.enf import files
from furiosa.enf.files import FileChanged, Part


def whole(content: Part) -> bytes:
    return bytes(files.in_memory(content))


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(bytes(range(256)) * 20)
    return path


def test_slices_are_those_of_a_memoryview(path):
    data = memoryview(path.read_bytes())
    content = files.open_file(path)
    assert len(content) == len(data)
    for span in (
        slice(None),
        slice(5, 9),
        slice(-3, None),
        slice(10, 2),
        slice(5000, 9999),
        slice(9999, None),
    ):
        assert bytes(content[span]) == bytes(data[span])
        assert bytes(content[100:][span]) == bytes(data[100:][span])
        assert b"".join(files.chunks(content[span])) == whole(content[span]) == bytes(data[span])


def test_an_open_file_outlives_its_name(path):
    expected, content = path.read_bytes(), files.open_file(path)
    new = path.with_name("new")
    new.write_bytes(b"another")
    os.replace(new, path)
    assert whole(content) == expected


@pytest.mark.parametrize("change", ["truncate", "write"])
def test_a_change_is_told(path, change):
    content = files.open_file(path)
    if change == "truncate":
        os.truncate(path, 100)
        with pytest.raises(FileChanged, match="renaming"):
            bytes(content)
    else:
        os.utime(path, ns=(1, 1))
    with pytest.raises(FileChanged, match="renaming") as told:
        files.in_memory(content)
    assert told.value.filename == str(path)


def test_what_was_read_stays(path):
    expected = path.read_bytes()
    memory = files.in_memory(files.open_file(path))
    os.truncate(path, 0)
    assert bytes(memory) == expected
    with pytest.raises(TypeError):
        memory[0] = 1


def test_only_regular_files(path):
    os.mkfifo(path.with_name("fifo"))
    for name in (path.with_name("fifo"), "/dev/zero"):
        with pytest.raises(OSError, match="not a regular file"):
            files.open_file(name)
    with pytest.raises(IsADirectoryError):
        files.open_file(path.parent)


def test_descriptors_are_given_back(path):
    before = os.listdir("/proc/self/fd")
    content = files.open_file(path)
    parts = [content[:10], content[10:]]
    assert len(os.listdir("/proc/self/fd")) == len(before) + 1
    del content, parts
    assert os.listdir("/proc/self/fd") == before


def test_memory_that_nobody_has():
    with pytest.raises(MemoryError):
        files.allocate(1 << 62)
