"""The reference runtimes in a process of their own: the numbers and the refusals of this process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from furiosa.runtime import remote
from furiosa.runtime.compare import isolated
from furiosa.runtime.compare.isolated import References
from furiosa.runtime.compare.reference import Refused, open_reference
from furiosa.runtime.testing.enf_files import onnx_model, tflite_softmax


@pytest.fixture
def tflite() -> Iterator[References]:
    with References("tflite") as references:
        yield references


def children() -> list[str]:
    return Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text("ascii").split()


def test_the_numbers_of_this_process(tflite: References) -> None:
    x = np.arange(-3, 3, dtype=np.int8).reshape(2, 3)
    for optimised in (True, False):
        here, there = (
            opened(*what, tflite_softmax((2, 3)), optimised=optimised).run([x])
            for opened, what in ((open_reference, ("tflite",)), (tflite.open, ()))
        )
        assert [a.tobytes() for a in here] == [a.tobytes() for a in there]
        assert [(a.dtype, a.shape) for a in here] == [(a.dtype, a.shape) for a in there]


def test_external_data_names_and_many_types() -> None:
    nodes = [("Cast", ["x"], [t], {"to": n}) for t, n in (("f", 1), ("b", 9), ("h", 10), ("l", 7))]
    made = {"f": ("float32", (2, 0)), "b": ("bool", (2, 0)), "h": ("float16", (2, 0)), "l": ("int64", (2, 0))}
    model = onnx_model(nodes, {"x": ("uint8", (2, 0))}, made)
    with References("onnx") as references:
        session = references.open(model)
        x = np.zeros((2, 0), np.uint8)
        results = session.run([x, x], ["x", "no input of the model"])
    assert [(str(r.dtype), r.shape) for r in results] == list(made.values())


def test_refusals_come_as_they_are(tflite: References) -> None:
    with References("onnx") as references, pytest.raises(Refused, match="^onnxruntime refuses it: "):
        references.open(b"junk")
    with pytest.raises(Refused, match="^LiteRT refuses it: "):
        tflite.open(b"junk")
    with pytest.raises(Refused, match="^LiteRT fails: "):
        tflite.open(tflite_softmax((2, 3))).run([np.zeros(3, np.int8)])


def test_damaged_models_are_refused_or_run(tflite: References) -> None:
    whole = tflite_softmax((2, 3))
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(40):
        damaged = bytearray(whole)
        damaged[int(rng.integers(8, len(whole)))] = int(rng.integers(256))
        try:
            tflite.open(bytes(damaged)).run([np.zeros((2, 3), np.int8)])
        except Refused as e:
            assert str(e).startswith("LiteRT ")
            refused += 1
    assert refused > 3


def test_nothing_is_left_behind() -> None:
    before = children()
    with References("tflite") as references:
        references.open(tflite_softmax((2, 3)))
        assert len(children()) == len(before) + 1
    assert children() == before


def test_models_that_nobody_needs_are_forgotten(tflite: References, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    ask = remote.Running.ask
    monkeypatch.setattr(
        remote.Running, "ask", lambda self, header, *rest: (asked.append(header), ask(self, header, *rest))[1]
    )
    first = tflite.open(tflite_softmax((2, 3)))
    del first
    tflite.open(tflite_softmax((2, 3)))
    assert [h["drop"] for h in asked] == [[], [0]]


@pytest.mark.parametrize(
    "outputs", [[["<f4", [1 << 40]]], [["<f4", [-1]]], [["O", [1]]], [["no type", [1]]], [["<f4"]], 7]
)
def test_an_answer_that_is_none(outputs: object) -> None:
    """What runs in the process may have been taken over: nothing that it announces is taken for what it is not."""
    with pytest.raises((ValueError, TypeError)):
        isolated._made(outputs)
