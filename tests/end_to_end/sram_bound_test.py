"""SRAM: on every example and shared model the addresses need no more than the bytes that live at one time."""

from __future__ import annotations

from furiosa.compiler.pipeline import Compilation, Options

FIXED_BATCH = {"movenet_lightning_ptq.tflite"}


def _check(model: bytes, batches: tuple[int, ...]) -> None:
    for target in ("warboy", "warboy-2pe"):
        for batch in batches:
            linear = Compilation(model, Options(target, batch)).run("lir").lir
            assert linear.sram_peak == linear.sram_lower_bound, (target, batch)


def test_whole_models(whole_model: tuple[str, bytes]) -> None:
    name, model = whole_model
    _check(model, (1,) if name in FIXED_BATCH else (1, 2, 8))


def test_example_models(example_model: bytes) -> None:
    _check(example_model, (1, 2, 8))
