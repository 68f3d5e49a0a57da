"""Programs that need more than the NPU's DRAM: warned about, estimated, run, denied, and bounded.

A target with a few kilobytes of DRAM stands for one with 16 GiB.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from furiosa.compiler import pipeline
from furiosa.compiler.cli.main import main
from furiosa.enf import reader
from furiosa.enf.errors import EnfVerifyError
from furiosa.enf.target import load_target
from furiosa.runtime import session

SOURCE = Path("m.onnx")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model: bytes) -> None:
    monkeypatch.chdir(tmp_path)
    SOURCE.write_bytes(tiny_model)


def small(monkeypatch: pytest.MonkeyPatch, dram_bytes: int) -> None:
    """From now on targets have so much DRAM."""
    for module in (pipeline, reader):
        monkeypatch.setattr(
            module, "load_target", lambda name: load_target(name)._replace(dram_bytes=dram_bytes)
        )


def compile_to(output: str, *options: str) -> int:
    return main(["compile", str(SOURCE), "-o", output, "--batch-size", "4", *options])


@pytest.fixture
def whole() -> bytes:
    """The program for a target with DRAM enough."""
    assert compile_to("whole.enf") == 0
    return Path("whole.enf").read_bytes()


def test_what_dram_does_not_hold_crosses_pcie(whole, monkeypatch, capfd):
    plain = reader.load(whole)
    assert capfd.readouterr().err == ""
    need = plain.metadata.dram_bytes
    beyond = need // 2
    small(monkeypatch, need - beyond)
    assert compile_to("small.enf") == 0
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith(
        f"WARNING: m.onnx: the program needs {need} bytes of DRAM, warboy-2pe has {need - beyond}: the other {beyond} stay in "
    )
    enf = reader.load_file("small.enf")
    assert enf.metadata.dram_bytes == need
    rate = load_target("warboy-2pe").pcie_bytes_per_s
    extra = enf.metadata.latency_us - plain.metadata.latency_us
    assert extra == pytest.approx(beyond / rate * 1e6, abs=0.002)

    shape = tuple(plain.interface.inputs[0].shape)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    with session.create("whole.enf") as one, session.create("small.enf") as other:
        for a, b in zip(one.run([x]).numpy(), other.run([x]).numpy(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_what_fits_to_the_byte_is_no_warning(whole, monkeypatch, capfd):
    small(monkeypatch, reader.load(whole).metadata.dram_bytes)
    assert compile_to("small.enf", "--deny", "out-of-dram") == 0
    assert capfd.readouterr().err == ""
    assert Path("small.enf").read_bytes() == whole


def test_denied(whole, monkeypatch, capfd):
    need = reader.load(whole).metadata.dram_bytes
    small(monkeypatch, need - 1)
    assert compile_to("small.enf", "--deny", "out-of-dram") == 7
    assert not Path("small.enf").exists()
    error = capfd.readouterr().err
    assert error.startswith("ERROR: m.onnx: the program needs ") and error.count("\n") == 1
    assert re.search(
        r"the other 1 stay in host memory .*use a smaller batch \(denied: out-of-dram\)\n$", error
    )


@pytest.mark.parametrize("share", [1, 100])
def test_host_memory_is_bounded(whole, monkeypatch, capfd, share):
    """Four times the DRAM is the most: short of it by a byte, and by so much that one buffer does not fit."""
    need = reader.load(whole).metadata.dram_bytes
    small(monkeypatch, (need - 1) // (4 * share))
    assert compile_to("small.enf") == 7
    error = capfd.readouterr().err
    assert error.startswith("ERROR: m.onnx: the program needs more than ") and error.count("\n") == 1
    with pytest.raises(EnfVerifyError, match="needs more memory than warboy-2pe has"):
        reader.load(whole)
    small(monkeypatch, -(-need // 4))
    reader.load(whole)


def test_unknown_warnings(capfd):
    assert compile_to("x.enf", "--deny", "out-of-luck") == 255
    assert capfd.readouterr().err == "ERROR: unknown warning 'out-of-luck' to deny, known: out-of-dram\n"
    with pytest.raises(pipeline.InvalidConfig, match="unknown warning 'out-of-luck'"):
        pipeline.compile_model(SOURCE.read_bytes(), deny=("out-of-luck",))
