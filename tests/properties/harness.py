"""Runs a model of one operator on the simulator and compares it with the reference runtime and with a NumPy rule.

A property test draws a `Machine` and the parameters of an operator (strategies.py), builds the model with
tests/reference/{tflite_op,onnx_op}.py and calls `check`:

    @bounded(25)
    @given(machine=machines(), q=quantizations(), shape=shapes(4, 4), seed=seeds())
    def test_operator(machine: Machine, q: Quantization, shape: tuple[int, ...], seed: int) -> None:
        x = values(q.dtype, shape, seed)
        check(build(...), [x], lambda x: rule(x, q.scale, q.zero_point), machine=machine)

Runs are deterministic.  PROPERTY_EXAMPLES=20 in the environment makes twenty times as many examples.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple
from unittest import mock

import numpy as np
import onnxruntime
from ai_edge_litert.interpreter import Interpreter
from hypothesis import HealthCheck, settings

from furiosa.compiler import pipeline
from furiosa.compiler.errors import OutOfSram
from furiosa.compiler.frontend.importer import source_format
from furiosa.compiler.pipeline import Compilation, Options
from furiosa.enf import container
from furiosa.enf.machine import Engine
from furiosa.enf.target import TARGETS, load_target
from furiosa.runtime import session
from furiosa.runtime.simulator import machine as simulator

FACTOR = int(os.environ.get("PROPERTY_EXAMPLES", "1"))

Rule = Callable[..., np.ndarray | Sequence[np.ndarray]]


class Machine(NamedTuple):
    """A target, the bytes of SRAM that it is given for the test (None: its own), and whether small work is split too.

    A small SRAM forces tiles, transfers of parts and spilled tensors with tensors of a few KB; with `split` the simulator cuts
    even the smallest command in two for its two threads, where the instruction can be cut at all.
    """

    target: str = TARGETS[-1]
    sram: int | None = None
    split: bool = False


WHOLE = Machine()


class Result(NamedTuple):
    """What became of a model: outputs of the simulator, commands of the processing element, SRAM in use in bytes."""

    outputs: list[np.ndarray]
    pe_commands: int
    sram_peak: int

    @property
    def tiled(self) -> bool:
        """Whether the processing element runs more than one command."""
        return self.pe_commands > 1


def bounded(examples: int) -> settings:
    """Settings of a property test: the same `examples` in every run, no time limit for one, nothing stored."""
    return settings(
        max_examples=examples * FACTOR,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )


def check(
    model: bytes,
    inputs: Sequence[np.ndarray],
    rule: Rule | None = None,
    *,
    machine: Machine = WHOLE,
    batch_size: int = 1,
    max_lsb: int = 0,
    reference: bool = True,
) -> Result:
    """Asserts that the whole model runs on the NPU, with the outputs of the reference runtime and of the rule.

    Args:
        model: a TFLite or ONNX file.
        inputs: the arrays of its inputs in order; with a batch size, those of `batch_size` samples along dimension 0.
        rule: the outputs (one array, or a list) from the inputs, in NumPy; a batch's samples are given one by one.
        machine: what to compile for; if the SRAM is too small for one tile, it is doubled until it is not.
        batch_size: for the compiler.
        max_lsb: how far a value may be off, for rules whose docstring documents a difference.
        reference: whether to ask the reference runtime; False where it has no kernel for the operator.

    Raises:
        AssertionError: any of it does not hold; the message names the rules that keep an operator off the NPU.
    """
    compiled = _compile(model, machine, batch_size)
    on_host = {
        op.name or op.op_type: [(r.rule, r.actual) for r in verdict.reasons]
        for op, verdict in compiled.ldfg.verdicts.items()
        if verdict.placed_on != "npu"
    }
    assert not on_host, f"on the host: {on_host}"
    device = {"warboy": "npu0pe0", "warboy-2pe": "npu0pe0-1"}[machine.target]
    work = 0 if machine.split else simulator.PARALLEL_WORK
    with (
        mock.patch.object(simulator, "PARALLEL_WORK", work),
        session.create(container.to_bytes(compiled.enf), device=device) as sess,
    ):
        actual = [t.numpy() for t in sess.run(list(inputs))]
    samples = [list(sample) for sample in zip(*(np.split(x, batch_size) for x in inputs))]
    if reference:
        _equal(actual, [run(model, sample) for sample in samples], max_lsb, "the reference runtime")
    if rule is not None:
        _equal(actual, [_listed(rule(*sample)) for sample in samples], max_lsb, "the rule")
    commands = sum(c.engine == Engine.PE for c in compiled.lir.commands)
    return Result(actual, commands, compiled.lir.sram_peak)


def run(model: bytes, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """All outputs of a model by its reference runtime: LiteRT's default kernels, or onnxruntime with int8 kernels."""
    if source_format(model) == "tflite":
        interpreter = Interpreter(model_content=model, num_threads=1)
        interpreter.allocate_tensors()
        for detail, array in zip(interpreter.get_input_details(), arrays, strict=True):
            interpreter.set_tensor(detail["index"], array)
        interpreter.invoke()
        return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    runtime = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in runtime.get_inputs()]
    return runtime.run(None, dict(zip(names, arrays, strict=True)))


def _compile(model: bytes, machine: Machine, batch_size: int) -> Compilation:
    own = load_target(machine.target)
    sram = machine.sram or own.sram_bytes
    while True:
        target = own._replace(sram_bytes_per_slice=sram // own.slices)
        with mock.patch.object(pipeline, "load_target", return_value=target):
            compilation = Compilation(model, Options(machine.target, batch_size))
        try:
            return compilation.run()
        except OutOfSram:
            if sram >= own.sram_bytes:
                raise
            sram *= 2


def _listed(result: np.ndarray | Sequence[np.ndarray]) -> list[np.ndarray]:
    return [result] if isinstance(result, np.ndarray) else list(result)


def _equal(actual: list[np.ndarray], samples: list[list[np.ndarray]], max_lsb: int, whose: str) -> None:
    expected = [np.concatenate(parts) if len(parts) > 1 else parts[0] for parts in zip(*samples, strict=True)]
    assert len(actual) == len(expected), f"{len(actual)} outputs, {whose} has {len(expected)}"
    for i, (a, b) in enumerate(zip(actual, expected)):
        assert (a.dtype, a.shape) == (b.dtype, b.shape), (
            f"output {i}: {a.dtype}{a.shape} != {b.dtype}{b.shape}"
        )
        if max_lsb:
            off = np.abs(a.astype(np.int64) - b.astype(np.int64)).max(initial=0)
            assert off <= max_lsb, f"output {i} differs from {whose} by {off} LSB"
        else:
            np.testing.assert_array_equal(a, b, err_msg=f"output {i} differs from {whose}")
