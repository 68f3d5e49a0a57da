"""The reproducibility check finds whatever leaks into an output, and says where: compilers that leak one thing each."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import onnx
import pytest

from furiosa.compiler.checks import reproduce
from furiosa.compiler.cli.main import main as furiosa
from furiosa.enf.container import read_table, to_bytes

# In the compiler's place: the compiler, whose version ends with something of the surroundings.
LEAKING = """\
#!{python}
import os, sys
sys.path[:] = {path!r}
import furiosa.compiler
leak = {leak}
furiosa.compiler.__version__ += str(leak)
from furiosa.compiler.cli.main import main
sys.exit(main())
"""


@pytest.fixture
def model(quantized_model: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "in" / "m.onnx"
    path.parent.mkdir()
    path.write_bytes(quantized_model)
    return path


def compiler(folder: Path, leak: str) -> str:
    script = folder / "compiler"
    path = [p for p in sys.path if p]
    script.write_text(LEAKING.format(python=sys.executable, path=path, leak=leak))
    script.chmod(0o755)
    return str(script)


def checked(
    model: Path, leak: str, worker: str = "", leak_when_built: str = "''", data: Sequence[str] = ()
) -> int:
    """Builds with one leak, and checks with another."""
    folder = model.parents[1]
    outputs = {"--enf": folder / "m.enf", "--report": folder / "m.report.json", "--dot": folder / "m.dot"}
    options = ["--target-npu", "warboy"]
    arguments = [a for o, path in outputs.items() for a in (reproduce.OUTPUTS[o], str(path))]
    arguments += data if "--hermetic" in data else ()
    built = [compiler(folder, leak_when_built), "compile", str(model), *arguments, *options]
    subprocess.run(built, check=True, env={"PATH": ""}, cwd=model.parent)
    named = [a for o, path in outputs.items() for a in (o, str(path))]
    more = [*(["--worker", worker] if worker else []), *data]
    return reproduce.main(
        [compiler(folder, leak), str(model), *named, *more, *(f"--option={o}" for o in options)]
    )


@pytest.mark.parametrize("worker", ["json", "proto"])
def test_a_compiler_that_leaks_nothing(worker: str, model: Path, capsys) -> None:
    assert checked(model, "''", worker) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [s.name for s in reproduce.ONE_SHOT] + list(reproduce.WORKER)
    assert lines == [f"{name}: the same bytes" for name in names]


@pytest.mark.parametrize(
    ("leak", "found"),
    [
        ("os.environ.get('PYTHONHASHSEED', '')", {"hash seed 0", "hash seed 4294967295"}),
        ("os.environ.get('TZ', '')", {"time zone Asia/Seoul"}),
        ("os.environ.get('LC_ALL', '')", {"locale tr_TR.UTF-8"}),
        ("'' if os.umask(0) == 0o022 else 'u'", {"umask 077"}),
        ("'another' if any('another' in line for line in open(sys.argv[1][1:])) else ''", {"another folder"}),
        ("os.getcwd()", {around.name for around in reproduce.ONE_SHOT}),
        ("os.environ.get('OMP_NUM_THREADS', '')", {"1 thread", "8 threads"}),
    ],
)
def test_each_leak_is_found(leak: str, found: set[str], model: Path, capsys) -> None:
    assert checked(model, leak) == 1
    lines = capsys.readouterr().out.splitlines()
    assert {line.removesuffix(": DIFFERS") for line in lines if line.endswith(": DIFFERS")} == found
    assert any("m.enf: " in line and line.endswith(", section 'metadata'") for line in lines)
    assert any("metadata: compiler_version: 0.1.0 -> 0.1.0" in line for line in lines)
    assert any("m.report.json: " in line and line.endswith(", line 5") for line in lines)


def test_the_first_section_that_differs_is_named(model: Path, tmp_path: Path) -> None:
    """Whichever it is; of several the first in the order of the file."""
    built, again = tmp_path / "m.enf", tmp_path / "again.m.enf"
    assert furiosa(["compile", str(model), "-o", str(built)]) == 0
    data = built.read_bytes()
    contents = {s.name: data[s.offset : s.offset + s.size] for s in read_table(memoryview(data)) if s.size}
    assert {"metadata", "code", "constants"} <= contents.keys()
    changed = dict(contents)
    for name in reversed(contents):
        other = bytes([contents[name][0] ^ 1]) + contents[name][1:]
        changed[name] = other  # this one and all behind it
        for sections in ({**contents, name: other}, changed):
            again.write_bytes(to_bytes(sections))
            assert reproduce.difference(built, again)[0].endswith(f", section '{name}'")
    again.write_bytes(to_bytes(contents))
    assert reproduce.difference(built, again) == []


def test_a_leak_of_the_worker(model: Path, capsys) -> None:
    assert checked(model, "'w' if '--persistent_worker' in sys.argv else ''", "proto") == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.endswith("DIFFERS")] == [
        f"{name}: DIFFERS" for name in reproduce.WORKER
    ]


def test_what_was_built_differs(model: Path, capsys) -> None:
    assert checked(model, "''", leak_when_built="'x'") == 1
    assert capsys.readouterr().out.count("DIFFERS") == len(reproduce.ONE_SHOT)


def test_a_compiler_that_fails(model: Path, capsys) -> None:
    leak = "sys.exit('no licence') if 'TZ' in os.environ else ''"
    assert checked(model, leak) == 1
    assert (
        "ERROR: time zone Asia/Seoul: the compiler fails with exit code 1: no licence"
        in capsys.readouterr().err
    )


def test_a_worker_that_dies(model: Path, capsys) -> None:
    leak = "sys.exit(3) if '--persistent_worker' in sys.argv else ''"
    assert checked(model, leak, "json") == 13
    assert "ERROR: the worker " in capsys.readouterr().err


def test_a_model_with_external_data(quantized_model: bytes, tmp_path: Path, capsys) -> None:
    model = tmp_path / "in" / "m.onnx"
    weights = model.parent / "weights" / "w.bin"
    weights.parent.mkdir(parents=True)
    proto = onnx.load_from_string(quantized_model)
    onnx.save(proto, model, save_as_external_data=True, location="weights/w.bin", size_threshold=0)
    assert weights.stat().st_size > 0
    for data in ([f"--data={weights}"], ["--hermetic", f"--data=weights/w.bin={weights}"]):
        assert checked(model, "''", "proto", data=data) == 0
    elsewhere = tmp_path / "repo" / "weights" / "w.bin"
    elsewhere.parent.mkdir(parents=True)
    weights.rename(elsewhere)
    assert checked(model, "''", data=["--hermetic", f"--data=={elsewhere}"]) == 0
    assert "DIFFERS" not in capsys.readouterr().out
