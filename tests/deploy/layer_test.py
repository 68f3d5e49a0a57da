"""Layers of container images: what is in them, and that an unpacked one runs with only a Python interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from furiosa.runtime import session

X = np.random.default_rng(8).uniform(-1.0, 1.0, (1, 3, 32, 32)).astype(np.float32)


def _file(variable: str) -> Path:
    if variable not in os.environ:
        pytest.skip("Bazel builds the layers that are tried: bazel test //tests/deploy:layer_test")
    return Path(os.environ[variable]).absolute()


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which nothing but the layer with the runtime was unpacked, as user's programs do it."""
    folder = tmp_path_factory.mktemp("image")
    with tarfile.open(_file("RUNTIME_LAYER")) as archive:
        archive.extractall(folder, filter="fully_trusted")
    return folder


def run(folder: Path, *command: str) -> subprocess.CompletedProcess:
    """A command in the folder, with an environment that holds only a PATH with this very interpreter as python3."""
    programs = folder / "programs"
    if not programs.is_dir():
        programs.mkdir()
        (programs / "python3").symlink_to(os.path.realpath(sys.executable))
    environment = {"PATH": f"{programs}:/usr/bin:/bin"}
    return subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)


def test_entries_say_nothing_of_clock_user_and_machine():
    for variable in ("MODELS_LAYER", "RUNTIME_LAYER"):
        with tarfile.open(_file(variable), "r:") as archive:  # uncompressed
            entries = archive.getmembers()
        assert all(e.isfile() or e.isdir() for e in entries)
        assert {(e.uid, e.gid, e.mtime, e.uname, e.gname) for e in entries} == {(0, 0, 0, "", "")}
        for e in entries:
            assert e.mode == (0o755 if e.isdir() or e.name == "vision/run" else 0o644), e.name
        assert len({e.name for e in entries}) == len(entries)


def test_layout():
    with tarfile.open(_file("MODELS_LAYER")) as archive, tarfile.open(_file("BUNDLE")) as bundle:
        assert archive.getnames() == [
            "opt/models",
            "opt/models/manifest.binpb",
            "opt/models/manifest.json",
            "opt/models/models",
            "opt/models/models/tiny_float32.enf",
            "opt/models/models/tiny_int8.enf",
        ]
        for e in bundle.getmembers():
            if e.isfile():
                assert archive.extractfile(f"opt/models/{e.name}").read() == bundle.extractfile(e).read()
    with tarfile.open(_file("RUNTIME_LAYER")) as archive:
        names = archive.getnames()
    assert {n.split("/")[1] for n in names if "/" in n} == {
        "manifest.binpb",
        "manifest.json",
        "models",
        "run",
        "run.py",
        "runtime",
    }
    assert not [
        n for n in names if "onnx" in n.split("/")[2:3] or n.startswith("vision/runtime/furiosa/compiler")
    ]
    licences = {n.split("/")[2].split("-")[0] for n in names if "LICEN" in n.upper()}
    assert {"numpy", "protobuf", "threadpoolctl", "xxhash"} <= licences, (
        "what is handed on brings its licence"
    )


def test_answers_as_the_session_does(empty: Path):
    np.save(empty / "cat.npy", X)
    done = run(empty, "./vision/run", "--model", "tiny_int8", "--input", "cat.npy", "--output", "out.npz")
    assert done.returncode == 0, done.stderr
    assert "NPU simulator (warboy-2pe); no NPU hardware is used" in done.stdout
    with session.create(f"{_file('BUNDLE')}#tiny_int8") as sess:
        expected = sess.run(X)[0]
    with np.load(empty / "out.npz") as found:
        np.testing.assert_array_equal(found[expected.desc.name], expected.numpy())


def test_anywhere_with_an_empty_home(empty: Path, tmp_path: Path):
    """Unpacked at another path, asked from another folder, by a user whose home holds nothing, and who has no numpy."""
    elsewhere, home, work = (tmp_path / name for name in ("srv/über uns", "home", "work"))
    for folder in (elsewhere, home, work):
        folder.mkdir(parents=True)
    with tarfile.open(_file("RUNTIME_LAYER")) as archive:
        archive.extractall(elsewhere, filter="fully_trusted")
    np.save(work / "cat.npy", X)
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "python3").symlink_to(os.path.realpath(sys.executable))
    environment = {
        "PATH": f"{programs}:/usr/bin:/bin",
        "HOME": str(home),
        "PYTHONPATH": "/nonexistent",
        "LC_ALL": "C",
    }
    without = subprocess.run(
        ["python3", "-I", "-S", "-c", "import numpy"], check=False, env=environment, capture_output=True
    )
    assert b"No module named 'numpy'" in without.stderr, (
        "the interpreter alone has it: the test shows nothing"
    )
    command = [elsewhere / "vision/run", "--model", "tiny_int8", "--input", "cat.npy", "--output"]
    done = subprocess.run(
        [*command, "out.npz"], check=False, cwd=work, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in work.iterdir()) == ["cat.npy", "out.npz"] and list(home.iterdir()) == []
    run(
        empty,
        "./vision/run",
        "--model",
        "tiny_int8",
        "--input",
        str(work / "cat.npy"),
        "--output",
        "here.npz",
    )
    assert (work / "out.npz").read_bytes() == (empty / "here.npz").read_bytes()


def test_nothing_of_the_machine_is_imported(empty: Path):
    """Every module comes from the bundle or from the interpreter's own library, whatever the environment says."""
    np.save(empty / "cat.npy", X)
    script = (
        "import runpy, sys; sys.argv = ['run.py', '--model', 'tiny_int8', '--input', 'cat.npy']\n"
        "try: runpy.run_path('vision/run.py', run_name='__main__')\n"
        "except SystemExit as e: assert not e.code, e.code\n"
        "import json; print(json.dumps([getattr(m, '__file__', None) or '' for m in sys.modules.values()]))"
    )
    done = run(empty, "python3", "-I", "-S", "-c", script)
    assert done.returncode == 0, done.stderr
    files = [f for f in json.loads(done.stdout.splitlines()[-1]) if f]
    strange = [f for f in files if "-packages" in f or "furiosa" in f and not f.startswith(str(empty))]
    assert not strange
    assert [f for f in files if f.startswith(f"{empty}/vision/runtime/numpy/")]


def test_a_model_with_parts_on_the_host_is_refused(empty: Path):
    done = run(empty, "./vision/run", "--model", "tiny_float32", "--random", "0")
    assert (done.returncode, done.stdout) == (13, "")
    assert done.stderr.startswith(
        "ERROR: model 'tiny_float32' runs partly on the host, by onnxruntime, which this bundle does not hold"
    )
    assert done.stderr.count("\n") == 1


def test_mistakes_are_told_in_one_line(empty: Path):
    for arguments, sentence in (
        (["--random", "0"], "this bundle has the models tiny_float32, tiny_int8: say which one by --model"),
        (["--model", "../x", "--random", "0"], "has no model '../x'; it has tiny_float32, tiny_int8"),
        (["--model", "tiny_int8", "--input", "none.npy"], "none.npy: No such file or directory"),
        (["--model", "tiny_int8"], "one of the arguments --input/-i --random is required"),
    ):
        done = run(empty, "./vision/run", *arguments)
        assert done.returncode and done.stderr.startswith("ERROR: ") and sentence in done.stderr, done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"python": [3, 9]}, "needs CPython 3.9, and "),
        ({"python": [3, 99], "exact": False}, "needs CPython 3.99 or later, and "),
        ({"machine": "vax"}, " on vax, and this is "),
        ({"system": "plan9"}, "is for plan9 on "),
        ({"glibc": [99, 1]}, "needs glibc 99.1 or later, and this is "),
    ],
)
def test_an_interpreter_that_does_not_fit(empty: Path, change: dict, sentence: str):
    requires = empty / "vision/runtime/requires.json"
    before = requires.read_text()
    if "glibc" in change and json.loads(before)["glibc"] is None:
        pytest.skip("the wheels of this platform ask for no glibc that could be too old")
    requires.write_text(json.dumps({**json.loads(before), **change}))
    try:
        done = run(empty, "./vision/run", "--model", "tiny_int8", "--random", "0")
    finally:
        requires.write_text(before)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("ERROR: the runtime in this bundle ") and sentence in done.stderr, (
        done.stderr
    )
    assert done.stderr.count("\n") == 1


@pytest.fixture
def wants_python_3_99(empty: Path):
    """The bundle as if its wheels were for a Python that is on PATH as python3.99 only."""
    requires = empty / "vision/runtime/requires.json"
    before = requires.read_text()
    requires.write_text(json.dumps({**json.loads(before), "python": [3, 99]}))
    run(empty, "true")  # makes the folder of programs
    yield empty / "programs/python3.99"
    (empty / "programs/python3.99").unlink()
    requires.write_text(before)


def test_the_right_interpreter_under_another_name(empty: Path, wants_python_3_99: Path):
    wants_python_3_99.write_text('#!/bin/sh\necho "$@"\n')
    wants_python_3_99.chmod(0o755)
    done = run(empty, "./vision/run", "--model", "tiny_int8")
    assert done.stdout == f"-I -S {os.path.realpath(empty)}/vision/run.py --model tiny_int8\n", done.stderr


def test_an_interpreter_of_a_wrong_name_is_asked_once(empty: Path, wants_python_3_99: Path):
    wants_python_3_99.symlink_to(os.path.realpath(sys.executable))
    done = run(empty, "./vision/run", "--model", "tiny_int8", "--random", "0")
    assert done.returncode == 2 and "needs CPython 3.99, and " in done.stderr


def test_a_wheel_that_cannot_be_loaded(empty: Path):
    numpy = empty / "vision/runtime/numpy"
    numpy.rename(numpy.with_name("gone"))
    done = run(empty, "./vision/run", "--model", "tiny_int8", "--random", "0")
    numpy.with_name("gone").rename(numpy)
    assert done.returncode == 2
    assert (
        done.stderr.endswith("cannot be loaded: No module named 'numpy'\n") and done.stderr.count("\n") == 1
    )


def test_no_interpreter(empty: Path):
    (empty / "nothing").mkdir()
    done = run(empty, "/usr/bin/env", "-i", f"PATH={empty}/nothing", "/bin/sh", "./vision/run")
    assert done.returncode == 2
    assert done.stderr == "ERROR: ./vision/run needs a Python interpreter, and there is no python3 on PATH\n"


def test_through_a_link(empty: Path):
    (empty / "linked").symlink_to("vision/run")
    done = run(empty, "./linked", "--model", "tiny_int8", "--random", "1")
    assert done.returncode == 0, done.stderr
