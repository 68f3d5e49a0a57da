"""The ENFs of the matrix and of the bundles are for the NPU and the batch size that the BUILD file says, or that is best."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
from runfiles import Runfiles

from furiosa.enf import reader


def _runfile(name: str) -> Path:
    return Path(Runfiles.Create().Rlocation(f"furiosa_rules/examples/targets/{name}"))


def _facts(data: bytes) -> tuple[str, int, int]:
    """NPU, batch size, and the samples that the input takes."""
    enf = reader.load(data)
    return enf.metadata.target_npu, enf.metadata.batch_size, enf.interface.inputs[0].shape[0]


@pytest.mark.parametrize("npu", ["warboy", "warboy-2pe"])
@pytest.mark.parametrize("batch", [1, 4])
def test_matrix(npu: str, batch: int) -> None:
    assert _facts(_runfile(f"tiny_{npu}_b{batch}.enf").read_bytes()) == (npu, batch, batch)


@pytest.mark.parametrize(("npu", "batch"), [("warboy", 1), ("warboy-2pe", 2)])
def test_bundle(npu: str, batch: int) -> None:
    with tarfile.open(_runfile(f"vision_{npu}.tar")) as bundle:
        data = bundle.extractfile("models/classifier.enf").read()
    assert _facts(data) == (npu, batch, batch)


def test_the_batch_size_that_is_chosen_is_the_best_that_was_tried() -> None:
    npu, batch, samples = _facts(_runfile("fastest.enf").read_bytes())
    assert (npu, samples) == ("warboy", batch)
    content = json.loads(_runfile("tiny_tune.json").read_text())
    assert [t["target_npu"] for t in content["targets"]] == ["warboy", "warboy-2pe"]
    throughput = {p["batch_size"]: p["throughput_per_s"] for p in content["targets"][0]["points"]}
    assert list(throughput) == [1, 2, 4, 8, 16, 32, 64]
    assert throughput[batch] >= 0.99 * max(t for size, t in throughput.items() if size <= 4 * batch)
    table = _runfile("tiny_tune.txt").read_text().splitlines()
    assert table[0].startswith("tiny_int8.onnx: ") and "warboy-2pe" in table
