"""Add and Relu in both formats: also the example of how a property test uses the harness."""

from __future__ import annotations

import math
from unittest import mock

from hypothesis import given

from furiosa.runtime.simulator import machine as simulator
from tests.properties.harness import Machine, bounded, check
from tests.properties.strategies import (
    Quantization,
    any_shapes,
    machines,
    seeds,
    shapes,
    together,
    values,
)
from tests.reference import onnx_op, table, tflite_op
from tests.reference.elementwise import add_onnxruntime, add_xnnpack, relu_builtin
from tests.reference.rounding import activation_bounds_builtin

Three = tuple[Quantization, Quantization, Quantization]


@bounded(40)
@given(machine=machines(), q=together(3), shape=any_shapes(1, 4), seed=seeds())
def test_onnx_add(machine: Machine, q: Three, shape: tuple[int, ...], seed: int) -> None:
    qa, qb, qy = q
    operands = [onnx_op.Operand(shape, *qa), onnx_op.Operand(shape, *qb)]
    model = onnx_op.build_qdq("Add", operands, onnx_op.Operand(shape, *qy))
    a, b = values(qa.dtype, shape, seed), values(qb.dtype, shape, seed + 1)
    check(model, [a, b], lambda a, b: add_onnxruntime(a, b, *qa[1:], *qb[1:], *qy[1:]), machine=machine)


@bounded(40)
@given(machine=machines(), q=together(3, low=2.0**-5), shape=any_shapes(1, 4), seed=seeds())
def test_tflite_add(machine: Machine, q: Three, shape: tuple[int, ...], seed: int) -> None:
    qa, qb, qy = q
    operands = [tflite_op.Operand(shape, *qa), tflite_op.Operand(shape, *qb)]
    option = tflite_op.options("AddOptions")
    model = tflite_op.build("ADD", operands, tflite_op.Operand(shape, *qy), option, version=2)
    a, b = values(qa.dtype, shape, seed), values(qb.dtype, shape, seed + 1)
    check(model, [a, b], lambda a, b: add_xnnpack(a, b, *qa[1:], *qb[1:], *qy[1:]), machine=machine)


@bounded(30)
@given(machine=machines(), q=together(2), shape=any_shapes(1, 4), seed=seeds())
def test_onnx_relu(machine: Machine, q: tuple, shape: tuple[int, ...], seed: int) -> None:
    qx, qy = q
    model = onnx_op.build_qdq("Relu", [onnx_op.Operand(shape, *qx)], onnx_op.Operand(shape, *qy))
    entries = table.table_onnxruntime(table.clip(0, math.inf), *qx[1:], *qy[1:], qx.dtype)
    x = values(qx.dtype, shape, seed)
    check(model, [x], lambda x: table.lookup(x, entries), machine=machine)


@bounded(30)
@given(machine=machines(), q=together(1), shape=any_shapes(1, 4), seed=seeds())
def test_tflite_relu(machine: Machine, q: tuple, shape: tuple[int, ...], seed: int) -> None:
    (qx,) = q
    operand = tflite_op.Operand(shape, *qx)
    bounds = activation_bounds_builtin("RELU", qx.scale, qx.zero_point, qx.dtype)
    x = values(qx.dtype, shape, seed)
    check(
        tflite_op.build("RELU", [operand], operand, version=2),
        [x],
        lambda x: relu_builtin(x, bounds, *qx[1:], *qx[1:]),
        machine=machine,
    )


@bounded(10)
@given(machine=machines((None,)), q=together(2), shape=shapes(3, 3), seed=seeds())
def test_onnx_relu_in_a_batch(machine: Machine, q: tuple, shape: tuple[int, ...], seed: int) -> None:
    qx, qy = q
    model = onnx_op.build_qdq("Relu", [onnx_op.Operand(shape, *qx)], onnx_op.Operand(shape, *qy))
    x = values(qx.dtype, (3 * shape[0], *shape[1:]), seed)
    check(model, [x], machine=machine, batch_size=3)


def test_machines_force_tiles_and_splits() -> None:
    q = Quantization("int8", 0.5, 3)
    shape = (1, 8, 60, 60)
    model = onnx_op.build_qdq(
        "Add", [onnx_op.Operand(shape, *q), onnx_op.Operand(shape, *q)], onnx_op.Operand(shape, *q)
    )
    inputs = [values("int8", shape, 0), values("int8", shape, 1)]
    small = check(model, inputs, machine=Machine("warboy", 12 << 10))
    assert small.tiled and small.sram_peak <= 12 << 10
    assert not check(model, inputs, machine=Machine("warboy")).tiled
    with mock.patch.object(simulator, "halves", wraps=simulator.halves) as cut:
        check(model, inputs, machine=Machine("warboy-2pe"))
        assert not cut.called
        assert (
            check(model, inputs, machine=Machine("warboy-2pe", 12 << 10, split=True)).pe_commands
            <= cut.call_count
        )
