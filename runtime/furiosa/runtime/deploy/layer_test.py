"""Layers: their bytes, their folders, and what is refused."""

from __future__ import annotations

import tarfile

import pytest

from furiosa.runtime.bundle import writer
from furiosa.runtime.cli import bundle_main
from furiosa.runtime.deploy import layer
from furiosa.runtime.errors import BundleError
from furiosa.runtime.testing.enf_files import table_enf


@pytest.fixture
def bundle(tmp_path):
    (tmp_path / "a.enf").write_bytes(table_enf())
    writer.pack(tmp_path / "v.tar", [("a", tmp_path / "a.enf")])
    return tmp_path / "v.tar"


def test_layout_and_bytes(bundle, tmp_path):
    layer.write(tmp_path / "one.tar", bundle, "/srv/vision")
    layer.write(tmp_path / "two.tar", bundle, "srv/vision")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    with tarfile.open(tmp_path / "one.tar", "r:") as archive:
        assert [(e.name, e.mode, e.isdir()) for e in archive] == [
            ("srv/vision", 0o755, True),
            ("srv/vision/manifest.binpb", 0o644, False),
            ("srv/vision/manifest.json", 0o644, False),
            ("srv/vision/models", 0o755, True),
            ("srv/vision/models/a.enf", 0o644, False),
        ]
        assert archive.extractfile("srv/vision/models/a.enf").read() == table_enf()


def test_a_long_path_is_one_that_tar_programs_read(bundle, tmp_path):
    prefix = "/".join(["folder"] * 14)  # 97 bytes
    layer.write(tmp_path / "l.tar", bundle, prefix)
    with tarfile.open(tmp_path / "l.tar") as archive:
        assert archive.getnames()[-1] == f"{prefix}/models/a.enf"


@pytest.mark.parametrize("prefix", ["", "/", "a//b", "../a", "a/./b", "/a/", "a b", "é", "a" * 101])
def test_a_prefix_that_is_no_path(bundle, tmp_path, prefix):
    with pytest.raises(BundleError, match="a path like '/opt/models' is expected"):
        layer.write(tmp_path / "l.tar", bundle, prefix)
    assert not (tmp_path / "l.tar").exists()


def test_a_damaged_bundle(bundle, tmp_path, capsys):
    data = bytearray(bundle.read_bytes())
    data[data.index(table_enf()) + 100] ^= 1
    bundle.write_bytes(data)
    assert bundle_main(["layer", str(bundle), "-o", str(tmp_path / "l.tar")]) == 4
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "l.tar").exists()
