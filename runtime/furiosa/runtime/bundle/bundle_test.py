"""Packing, opening, checking and unpacking bundles, and what a stranger's bundle may not do."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from furiosa.enf import container, outputs
from furiosa.enf import reader as enf_reader
from furiosa.enf.testing.generated import assert_generated
from furiosa.runtime import session, source
from furiosa.runtime.bundle import manifest as manifests
from furiosa.runtime.bundle import manifest_pb2, tar, writer
from furiosa.runtime.bundle.manifest_pb2 import Manifest
from furiosa.runtime.bundle.reader import Bundle
from furiosa.runtime.cli import bundle_main
from furiosa.runtime.deploy import program
from furiosa.runtime.errors import BundleError, IncompatibleModel
from furiosa.runtime.testing.enf_files import build, descriptor, table_enf

X = np.arange(64, dtype=np.int8).reshape(1, 1, 1, 64)


@pytest.fixture
def enfs(tmp_path):
    """Two ENFs: (name, path)."""
    (tmp_path / "in").mkdir()
    paths = []
    for name, data in (("resnet50", table_enf()), ("mobilenet", table_enf(elements=128))):
        path = tmp_path / "in" / f"{name}.enf"
        path.write_bytes(data)
        paths.append((name, path))
    return paths


@pytest.fixture
def bundle(tmp_path, enfs):
    path = tmp_path / "vision.tar"
    writer.pack(path, enfs)
    return path


def files_of(path) -> dict[str, bytes]:
    data = memoryview(path.read_bytes())
    return {m.name: bytes(data[m.offset : m.offset + m.size]) for m in tar.members(data) if not m.is_folder}


def rewrite(path, files: dict[str, bytes]) -> None:
    """Puts other files into the archive."""
    out = b"".join(tar.header(n, len(d)) + d + tar.padding(len(d)) for n, d in files.items())
    path.write_bytes(out + tar.end(len(out)))


def remake(path, change) -> None:
    """Lets ``change(manifest, files)`` edit the bundle and writes matching manifests."""
    files = files_of(path)
    manifest = Manifest.FromString(files["manifest.binpb"])
    change(manifest, files)
    files["manifest.binpb"], files["manifest.json"] = (
        manifests.to_binpb(manifest),
        manifests.to_json(manifest),
    )
    rewrite(path, files)


def test_the_bytes_depend_on_nothing_but_enfs_and_names(tmp_path, enfs, bundle):
    elsewhere = tmp_path / "else" / "where"
    elsewhere.mkdir(parents=True)
    moved = []
    for name, path in reversed(enfs):
        copy = elsewhere / f"other-{name}.bin"
        copy.write_bytes(path.read_bytes())
        os.utime(copy, (1, 1))
        moved.append((name, copy))
    writer.pack(elsewhere / "b.tar", moved)
    assert (elsewhere / "b.tar").read_bytes() == bundle.read_bytes()


def test_manifest_says_what_the_enfs_say(bundle, enfs):
    files = files_of(bundle)
    assert list(files) == ["manifest.binpb", "manifest.json", "models/mobilenet.enf", "models/resnet50.enf"]
    found = json.loads(files["manifest.json"])
    data = dict(enfs)["resnet50"].read_bytes()
    assert found["format_version"] == 1 and [m["name"] for m in found["models"]] == ["mobilenet", "resnet50"]
    tensor = {
        "dtype": "int8",
        "shape": [1, 1, 1, 64],
        "format": "NCHW",
        "quantization": {"scale": 0.5, "zero_point": -3},
    }
    assert found["models"][1] == {
        "name": "resnet50",
        "file": "models/resnet50.enf",
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "target_npu": "warboy",
        "batch_size": 1,
        "compiler_version": "0.0.0",
        "source_format": "onnx",
        "source_sha256": bytes(range(32)).hex(),
        "inputs": [{"name": "x", **tensor}],
        "outputs": [{"name": "y", **tensor}],
        "operator_coverage": {
            "mac_share": 0.75,
            "npu_macs": 75,
            "total_macs": 100,
            "npu_operators": 1,
            "host_operators": 0,
            "unknown_macs": 0,
        },
        "sram_peak_bytes": 64 + 256 + 64,
        "dram_bytes": 128 + 256,
        "latency_us": 1.5,
        "selection": None,
    }
    assert manifests.to_json(Manifest.FromString(files["manifest.binpb"])) == files["manifest.json"]


def test_a_tensor_without_quantisation_says_null(tmp_path):
    x = descriptor("x", "float32", (4,))
    (tmp_path / "m.enf").write_bytes(build([x], [x], []))
    manifest = writer.pack(tmp_path / "b.tar", [("m", tmp_path / "m.enf")])
    assert json.loads(manifests.to_json(manifest))["models"][0]["inputs"][0]["quantization"] is None


@pytest.mark.parametrize("scale", [0.1, 1 / 3, 0.007843137718737125, 1e-45, 3.4028235e38, 0.0])
def test_json_scales_are_short_and_exact(scale):
    manifest = Manifest()
    manifest.models.add().inputs.add().quantization.scale = scale
    text = manifests.to_json(manifest)
    found = json.loads(text)["models"][0]["inputs"][0]["quantization"]["scale"]
    assert np.float32(found) == np.float32(scale) and len(repr(found)) <= 15


def test_open_list_and_run(bundle):
    b = Bundle.open(bundle)
    assert b.names == ["mobilenet", "resnet50"]
    b.verify()
    with session.create(f"{bundle}#resnet50") as s:
        assert s.run(X)[0] == -1 - X


def test_sentences_for_a_wrong_name(bundle):
    with pytest.raises(BundleError, match="has no model 'vgg'; it has mobilenet, resnet50"):
        session.create(f"{bundle}#vgg")
    with pytest.raises(IncompatibleModel, match="is a bundle: say which"):
        session.create(bundle)
    with pytest.raises(FileNotFoundError):
        session.create(f"{bundle}x#resnet50")


def test_a_path_with_a_number_sign_is_a_path(tmp_path):
    path = tmp_path / "odd#name.enf"
    path.write_bytes(table_enf())
    session.create(path).close()


def test_unpack_writes_everything(tmp_path, bundle, enfs):
    for folder in (tmp_path / "new", tmp_path / "empty"):
        if folder.name == "empty":
            folder.mkdir()
        Bundle.open(bundle).unpack(folder)
        assert {f"models/{n}.enf": p.read_bytes() for n, p in enfs}.items() <= {
            os.path.relpath(os.path.join(d, f), folder): open(os.path.join(d, f), "rb").read()  # noqa: SIM115
            for d, _, names in os.walk(folder)
            for f in names
        }.items()
    assert sorted(os.listdir(tmp_path)) == ["empty", "in", "new", "vision.tar"]


def test_unpack_never_overwrites(tmp_path, bundle):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("full", "file", "link"):
        with pytest.raises(FileExistsError):
            Bundle.open(bundle).unpack(tmp_path / name)
    assert os.listdir(tmp_path / "full") == ["mine"]


def test_unpack_keeps_a_folder_that_exists(tmp_path, bundle):
    """A mounted volume cannot be replaced, and its mode and owner are somebody's decision."""
    folder, link = tmp_path / "volume", tmp_path / "link"
    folder.mkdir()
    folder.chmod(0o2750)
    (folder / "lost+found").mkdir()
    link.symlink_to("volume")
    before = folder.stat()
    Bundle.open(bundle).unpack(link)
    after = folder.stat()
    assert (before.st_ino, before.st_mode, before.st_uid) == (after.st_ino, after.st_mode, after.st_uid)
    assert link.is_symlink()
    assert sorted(os.listdir(folder)) == ["lost+found", "manifest.binpb", "manifest.json", "models"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a volume")
def test_unpack_to_a_mounted_volume(tmp_path, bundle):
    folder = tmp_path / "volume"
    folder.mkdir()
    unpack = f"{sys.executable} -m furiosa.runtime.bundle unpack {bundle} -o {folder}"
    script = f"mount -t tmpfs none {folder} || exit 99; {unpack} && ls -A {folder}"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = ["unshare", "--mount", "sh", "-c", script]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if done.returncode == 99 or "unshare" in done.stderr:
        pytest.skip("this machine lets not even root mount a volume")
    assert done.stderr == "" and done.returncode == 0
    assert done.stdout.split() == ["manifest.binpb", "manifest.json", "models"]


def test_an_unpacking_that_fails_leaves_the_folder_empty(tmp_path, bundle, monkeypatch):
    (tmp_path / "out").mkdir()
    rename = os.rename

    def refuse(source, target):
        if target == str(tmp_path / "out/manifest.json"):
            raise OSError(28, "No space left on device", target)
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(OSError, match="No space left"):
        Bundle.open(bundle).unpack(tmp_path / "out")
    assert os.listdir(tmp_path / "out") == []


def test_of_two_that_unpack_to_one_folder_the_loser_hears_why(tmp_path, bundle):
    (tmp_path / "out").mkdir()
    with (
        outputs.temporary_folder(str(tmp_path / "out/bundle")),
        pytest.raises(FileExistsError, match="another process is unpacking to it"),
    ):
        Bundle.open(bundle).unpack(tmp_path / "out")
    new = tmp_path / "new"
    check = Bundle._check_json

    def meanwhile(self):
        new.mkdir()
        (new / "x").touch()
        check(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bundle, "_check_json", meanwhile)
        with pytest.raises(FileExistsError, match="another process has written it meanwhile"):
            Bundle.open(bundle).unpack(new)
    assert os.listdir(new) == ["x"] and sorted(os.listdir(tmp_path)) == ["in", "new", "out", "vision.tar"]


def damage_enf(manifest, files):
    data = bytearray(files["models/resnet50.enf"])
    data[-1] ^= 1
    files["models/resnet50.enf"] = bytes(data)


def damage_and_sign(manifest, files):
    damage_enf(manifest, files)
    manifest.models[1].sha256 = hashlib.sha256(files["models/resnet50.enf"]).hexdigest()


def test_a_digest_that_does_not_match_is_refused(tmp_path, bundle):
    remake(bundle, damage_enf)
    for use in (lambda b: b.verify(), lambda b: b.unpack(tmp_path / "out")):
        with pytest.raises(BundleError, match="'models/resnet50.enf' is damaged"):
            use(Bundle.open(bundle))
    assert sorted(os.listdir(tmp_path)) == ["in", "vision.tar"]


def exchange(manifest, files):
    """A sound ENF of the same size in the place of another."""
    enf = enf_reader.load(files["models/resnet50.enf"])
    sections = {s.name: bytes(enf.section(s.name)) for s in enf.sections}
    name = sections["metadata"].replace(b"0.0.0", b"9.9.9")
    assert name != sections["metadata"]
    files["models/resnet50.enf"] = container.to_bytes(sections | {"metadata": name})


@pytest.mark.parametrize("large", [False, True])
def test_an_exchanged_enf_is_refused_before_it_runs(bundle, monkeypatch, capsys, large):
    if large:  # compared on a thread, for which only the first run waits
        monkeypatch.setattr(enf_reader, "_LARGE", 8)
    with session.create(f"{bundle}#resnet50") as sess:
        sess.run(X)
    remake(bundle, exchange)
    with (
        pytest.raises(
            IncompatibleModel,
            match="it is damaged or another file: its SHA-256 is [0-9a-f]{64}, and [0-9a-f]{64} is stated",
        ),
        session.create(f"{bundle}#resnet50") as sess,
    ):
        assert large
        sess.run(X)
    for _ in range(2):  # every time
        with pytest.raises(IncompatibleModel, match="its SHA-256 is"):
            source.read(f"{bundle}#resnet50").read()
    with session.create(f"{bundle}#mobilenet") as sess:
        sess.run(X.repeat(2, -1))
    assert bundle_main(["run", str(bundle), "--model", "resnet50", "--random", "1"]) != 0
    assert "its SHA-256 is" in capsys.readouterr().err


def test_an_exchanged_enf_of_an_unpacked_bundle_is_refused(tmp_path, bundle, capsys):
    folder = tmp_path / "unpacked"
    Bundle.open(bundle).unpack(folder)
    arguments = ["--model", "resnet50", "--random", "0"]
    assert program.main(str(folder), arguments) == 0
    (folder / "models/resnet50.enf").write_bytes((folder / "models/mobilenet.enf").read_bytes())
    assert program.main(str(folder), arguments) != 0
    assert "its SHA-256 is" in capsys.readouterr().err


def test_an_enf_that_its_own_checksums_refuse_is_refused(bundle):
    remake(bundle, damage_and_sign)
    with pytest.raises(BundleError, match="model 'resnet50'.*checksum"):
        Bundle.open(bundle).verify()
    with pytest.raises(IncompatibleModel, match="checksum"):
        session.create(f"{bundle}#resnet50")


def test_a_manifest_that_lies_is_refused(bundle):
    def lie(manifest, files):
        manifest.models[0].operator_coverage.mac_share = 1

    remake(bundle, lie)
    with pytest.raises(BundleError, match="says something else of model 'mobilenet'"):
        Bundle.open(bundle).verify()


def test_json_that_differs_is_refused(tmp_path, bundle):
    files = files_of(bundle)
    files["manifest.json"] = files["manifest.json"].replace(b'"warboy"', b'"warboy-2pe"')
    rewrite(bundle, files)
    for use in (lambda b: b.verify(), lambda b: b.unpack(tmp_path / "out")):
        with pytest.raises(BundleError, match="differ"):
            use(Bundle.open(bundle))


def test_bytes_hidden_in_the_manifest_are_refused(bundle):
    files = files_of(bundle)
    files["manifest.binpb"] += b"\xfa\x01\x04evil"  # an unknown field
    rewrite(bundle, files)
    with pytest.raises(BundleError, match="more than a manifest"):
        Bundle.open(bundle).verify()


def _edit_file(manifest, files):
    manifest.models[0].file = "models/../x"


def _edit_size(manifest, files):
    manifest.models[0].size += 1


def _edit_name(manifest, files):
    manifest.models[0].name = "../mobilenet"


def _edit_order(manifest, files):
    manifest.models.reverse()


def _edit_version(manifest, files):
    manifest.format_version = 2


def _edit_twice(manifest, files):
    manifest.models.append(manifest.models[1])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_edit_file, "another place"),
        (_edit_size, "bytes where the manifest says"),
        (_edit_name, "cannot name a model"),
        (_edit_order, "order"),
        (_edit_version, "version 2"),
        (_edit_twice, "twice"),
        (lambda m, f: f.pop("models/mobilenet.enf"), "is missing"),
        (lambda m, f: f.update({"models/extra.enf": b"x"}), "'models/extra.enf' is not in the manifest"),
        (lambda m, f: f.update({"run.sh": b"x"}), "'run.sh' is not in the manifest"),
    ],
)
def test_an_archive_that_is_not_its_manifest_is_refused(bundle, change, sentence):
    remake(bundle, change)
    with pytest.raises(BundleError, match=sentence):
        Bundle.open(bundle)


@pytest.mark.parametrize("data", [b"", b"x" * 2000, tar.end(0)])
def test_other_files_are_no_bundles(tmp_path, data):
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(BundleError, match=r"x\.tar: "):
        Bundle.open(tmp_path / "x.tar")


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "a#b", "ä", "a b", "n" * 81, "..", "a\n"])
def test_names_that_cannot_be_are_refused(tmp_path, enfs, name):
    with pytest.raises(BundleError, match="cannot name a model"):
        writer.pack(tmp_path / "b.tar", [(name, enfs[0][1])])


def test_the_longest_name_fits(tmp_path, enfs):
    writer.pack(tmp_path / "b.tar", [("n" * manifests.MAX_NAME, enfs[0][1])])
    assert Bundle.open(tmp_path / "b.tar").names == ["n" * 80]


def test_pack_refuses_what_is_no_sound_enf_and_leaves_nothing(tmp_path, enfs):
    (tmp_path / "bad.enf").write_bytes(table_enf()[:-1])
    output = tmp_path / "b.tar"
    for models, sentence in (
        ([*enfs, ("bad", tmp_path / "bad.enf")], "model 'bad', .*bad.enf: .*truncated"),
        ([enfs[0], enfs[0]], "two models are named 'resnet50'"),
        ([], "at least one"),
    ):
        with pytest.raises(BundleError, match=sentence):
            writer.pack(output, models)
    with pytest.raises(FileNotFoundError):
        writer.pack(output, [("m", tmp_path / "none.enf")])
    with pytest.raises(FileNotFoundError):
        writer.pack(tmp_path / "none" / "b.tar", enfs)
    assert sorted(os.listdir(tmp_path)) == ["bad.enf", "in"]


def test_numbers_that_json_cannot_say_are_refused(tmp_path):
    x = descriptor("x", "int8", (4,))
    (tmp_path / "m.enf").write_bytes(build([x], [x], [], latency_us=float("inf")))
    with pytest.raises(BundleError, match="model 'm'"):
        writer.pack(tmp_path / "b.tar", [("m", tmp_path / "m.enf")])


def test_generated_code_is_that_of_the_proto(tmp_path):
    assert_generated(manifest_pb2, tmp_path)
