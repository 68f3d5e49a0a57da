"""Lowering of ONNX graphs: what makes a unit, which layout is made when, and verdicts with all their reasons."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from furiosa.compiler.frontend.importer import import_model
from furiosa.compiler.ldfg.lower import lower
from furiosa.compiler.ldfg.lowering import Lowering


class _Model:
    """Builds a graph of quantised operators; every tensor has scale 0.1 and zero point 0 unless said otherwise."""

    def __init__(self, *shape: int):
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {
            "s": np.float32(0.1),
            "z": np.int8(0),
            "z_low": np.int8(-128),
        }
        self.shape = shape
        self.at = self.quantize("x")

    def quantize(self, name: str, zero: str = "z") -> str:
        self.nodes.append(helper.make_node("QuantizeLinear", [name, "s", zero], [f"{name}_q"]))
        self.nodes.append(helper.make_node("DequantizeLinear", [f"{name}_q", "s", zero], [f"{name}_d"]))
        return f"{name}_d"

    def conv(
        self, name: str, x: str, channels: int, depth: int, *, activation: str = "", group: int = 1
    ) -> str:
        self.constants[f"{name}_w"] = np.ones((channels, depth // group, 3, 3), np.int8)
        self.constants[f"{name}_ws"] = np.full(channels, 0.01, np.float32)
        self.constants[f"{name}_wz"] = np.zeros(channels, np.int8)
        weight = [f"{name}_w", f"{name}_ws", f"{name}_wz"]
        self.nodes.append(helper.make_node("DequantizeLinear", weight, [f"{name}_wd"], axis=0))
        pads = {"pads": [1, 1, 1, 1], "group": group}
        self.nodes.append(helper.make_node("Conv", [x, f"{name}_wd"], [name], name=name, **pads))
        if activation:
            self.nodes.append(helper.make_node(activation, [name], [f"{name}_a"]))
            return self.quantize(f"{name}_a", "z_low")
        return self.quantize(name)

    def lower(self, *outputs: str, opset: int = 13) -> Lowering:
        graph = helper.make_graph(
            self.nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)],
            [onnx.ValueInfoProto(name=o) for o in outputs],
            [
                v if isinstance(v, onnx.TensorProto) else numpy_helper.from_array(np.asarray(v), k)
                for k, v in self.constants.items()
            ],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        return lower(import_model(model.SerializeToString()))


def _kinds(lowering: Lowering) -> list[str]:
    return [op.op_type.removeprefix("npu.") for op in lowering.operators]


def test_a_chain_of_convolutions_changes_layout_only_at_its_ends() -> None:
    m = _Model(1, 3, 8, 8)
    y = m.conv("b", m.conv("a", m.at, 4, 3), 4, 4)
    kinds = _kinds(m.lower(y))
    assert kinds == ["quantize", "transpose", "conv2d", "conv2d", "transpose", "dequantize"]


def test_elementwise_operators_stay_in_the_layout_of_their_inputs() -> None:
    m = _Model(1, 3, 8, 8)
    a = m.conv("a", m.at, 4, 3)
    b = m.conv("b", a, 4, 4)
    m.nodes.append(helper.make_node("Add", [a, b], ["sum"]))
    y = m.conv("c", m.quantize("sum"), 4, 4)
    kinds = _kinds(m.lower(y))
    assert kinds.count("transpose") == 2 and "add" in kinds


def test_an_activation_is_fused() -> None:
    m = _Model(1, 3, 8, 8)
    y = m.conv("a", m.at, 4, 3, activation="Relu")
    lowering = m.lower(y)
    (conv,) = [op for op in lowering.operators if op.op_type == "npu.conv2d"]
    assert conv.attributes["clamp_min"] == -128  # zero point -128: the range does the Relu
    assert [o.op_type for o in lowering.origins[conv]] == ["DequantizeLinear"] * 2 + [
        "Conv",
        "Relu",
        "QuantizeLinear",
    ]


def test_a_real_result_that_somebody_else_reads_is_no_unit() -> None:
    m = _Model(1, 3, 8, 8)
    m.conv("a", m.at, 4, 3)  # its real result "a" is an output as well
    lowering = m.lower("a", "a_d")
    placed = {op.op_type: lowering.verdicts[op].placed_on for op in lowering.graph.operators}
    assert placed["Conv"] == "host"


def test_a_refused_operator_takes_its_quantisation_to_the_host() -> None:
    m = _Model(1, 3, 8, 8)
    m.nodes.append(helper.make_node("Sinh", [m.at], ["sinh"], name="sinh"))
    y = m.quantize("sinh")
    lowering = m.lower(y)
    host = [op.op_type for op in lowering.operators if not op.op_type.startswith("npu.")]
    assert host == ["DequantizeLinear", "Sinh", "QuantizeLinear"]


def _hint(lowering: Lowering, name: str) -> str:
    (reasons,) = [v.reasons for op, v in lowering.verdicts.items() if op.name == name]
    (reason,) = [r for r in reasons if r.rule == "eight-bit-activations"]
    assert len(reasons) == 1, "weights and what else is quantised are no reasons"
    return f"{reason.actual}: {reason.hint}"


def test_a_partly_quantised_model_is_told_what_is_missing() -> None:
    """Each sentence names the tensor and its neighbour."""
    ask = "Quantise this operator like its neighbours:"
    m = _Model(1, 4, 8, 8)
    m.conv("a", m.at, 4, 4)
    m.nodes.append(helper.make_node("HardSigmoid", ["a"], ["h"], name="h"))
    assert _hint(m.lower("h", "a_d"), "a") == (
        f"float32: a: {ask} 'a' is read by HardSigmoid 'h', not only by one QuantizeLinear."
    )
    m = _Model(1, 4, 8, 8)
    m.nodes.append(helper.make_node("HardSigmoid", [m.at], ["h"], name="h"))
    assert _hint(m.lower(m.conv("a", "h", 4, 4)), "a") == (
        f"float32: h, a: {ask} 'h' comes from HardSigmoid 'h' without a DequantizeLinear."
    )
    m = _Model(1, 4, 8, 8)
    assert _hint(m.lower(m.conv("a", "x", 4, 4)), "a") == (
        f"float32: x, a: {ask} 'x' is an input of the model without a DequantizeLinear."
    )
    m = _Model(1, 4, 8, 8)
    m.conv("a", m.at, 4, 4)
    assert _hint(m.lower("a"), "a") == (
        f"float32: a: {ask} 'a' is an output of the model without a QuantizeLinear."
    )


def test_a_model_without_quantisation_is_told_to_quantise() -> None:
    m = _Model(1, 4)
    m.nodes.append(helper.make_node("Relu", ["x"], ["y"], name="relu"))
    lowering = m.lower("y")
    (reasons,) = [v.reasons for op, v in lowering.verdicts.items() if op.name == "relu"]
    assert [r.rule for r in reasons] == ["eight-bit-activations"]
    assert reasons[0].actual == "float32: x, y" and reasons[0].hint.startswith("Quantise the model")


def test_weights_and_biases_that_are_left_in_float() -> None:
    m = _Model(1, 4, 8, 8)
    m.constants |= {"w": np.ones((4, 4, 3, 3), np.float32), "b": np.ones(4, np.float32)}
    m.nodes.append(helper.make_node("Conv", [m.at, "w", "b"], ["y"], name="conv"))
    m.nodes.append(helper.make_node("MatMul", [m.quantize("y"), "m"], ["product"], name="matmul"))
    m.constants["m"] = np.ones((6, 2), np.float32)
    lowering = m.lower(m.quantize("product"))
    failed = {op.name: {r.rule: r.actual for r in v.reasons} for op, v in lowering.verdicts.items()}
    assert failed["conv"] == {"eight-bit-weights": "float32: w", "int32-bias": "float32: b"}
    assert failed["matmul"] == {"eight-bit-weights": "float32: m"}


def test_indices_are_not_to_be_quantised() -> None:
    m = _Model(1, 4)
    m.constants["one"] = np.ones((1, 1), np.int64)
    m.nodes.append(helper.make_node("ArgMax", ["x"], ["i"], name="argmax"))
    m.nodes.append(helper.make_node("Add", ["i", "one"], ["y"], name="add"))
    (reasons,) = [v.reasons for op, v in m.lower("y").verdicts.items() if op.name == "add"]
    assert (reasons[0].rule, reasons[0].actual) == ("eight-bit-activations", "int64: i, one, y")
    assert reasons[0].hint.startswith("Leave it to the host")


def test_dynamic_quantisation_is_told_to_be_static() -> None:
    m = _Model(1, 4)
    m.constants["w"] = np.ones((4, 4), np.int8)
    m.nodes.append(helper.make_node("MatMulInteger", ["x_q", "w"], ["y"], name="matmul"))
    (reasons,) = [v.reasons for op, v in m.lower("y").verdicts.items() if op.name == "matmul"]
    assert reasons[0].rule == "operator-table" and "statically" in reasons[0].hint


def test_depthwise_and_groups() -> None:
    m = _Model(1, 4, 8, 8)
    y = m.conv("b", m.conv("a", m.at, 4, 4, group=4), 8, 4, group=2)
    kinds = _kinds(m.lower(y))
    assert "depthwise_conv2d" in kinds and "conv2d" in kinds


def test_all_failing_rules_are_reported() -> None:
    m = _Model(1, 4, 40, 40)
    m.constants["w"] = np.ones((4, 4, 3, 3), np.float32)
    m.nodes.append(helper.make_node("Conv", ["x", "w"], ["y"], name="float conv", dilations=[13, 13]))
    lowering = m.lower("y")
    (verdict,) = [v for op, v in lowering.verdicts.items() if op.name == "float conv"]
    failed = {r.rule: r for r in verdict.reasons}
    assert verdict.placed_on == "host"
    assert failed.keys() == {"eight-bit-activations", "eight-bit-weights", "dilation-limit"}
    assert failed["dilation-limit"].actual == "[13, 13]" and failed["dilation-limit"].allowed == "<= 12"
    assert "float32" in failed["eight-bit-activations"].actual and failed["eight-bit-activations"].hint


@pytest.mark.parametrize("groups, placed_on", [(128, "npu"), (129, "host")])
def test_group_limit(groups: int, placed_on: str) -> None:
    m = _Model(1, 2 * groups, 4, 4)
    y = m.conv("a", m.at, 2 * groups, 2 * groups, group=groups)
    lowering = m.lower(y)
    (verdict,) = [v for op, v in lowering.verdicts.items() if op.name == "a"]
    assert verdict.placed_on == placed_on
    assert [r.rule for r in verdict.reasons] == ([] if placed_on == "npu" else ["group-limit"])


def test_axes_that_are_no_constant_go_to_the_host() -> None:
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=1)],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 4]),
            helper.make_tensor_value_info("axes", TensorProto.INT64, [1]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 1, 4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    lowering = lower(import_model(model.SerializeToString()))
    (verdict,) = lowering.verdicts.values()
    assert "constant-parameters" in {r.rule for r in verdict.reasons}


@pytest.mark.parametrize("dilation, placed_on", [(12, "npu"), (13, "host")])
def test_dilation_limit(dilation: int, placed_on: str) -> None:
    m = _Model(1, 4, 40, 40)
    m.conv("a", m.at, 4, 4)
    node = next(n for n in m.nodes if n.op_type == "Conv")
    node.attribute.extend([helper.make_attribute("dilations", [1, dilation])])
    lowering = m.lower("a_d")
    (verdict,) = [v for op, v in lowering.verdicts.items() if op.name == "a"]
    assert verdict.placed_on == placed_on
    assert [r.rule for r in verdict.reasons] == ([] if placed_on == "npu" else ["dilation-limit"])


def test_a_depthwise_convolution_may_have_any_number_of_groups() -> None:
    m = _Model(1, 200, 4, 4)
    lowering = m.lower(m.conv("a", m.at, 200, 200, group=200))
    assert "depthwise_conv2d" in _kinds(lowering)


def test_convolutions_in_one_dimension_stay_with_their_channels_last() -> None:
    m = _Model(1, 3, 16)
    for name, depth in (("a", 3), ("b", 4)):
        m.at = m.conv(name, m.at, 4, depth)
    for node in m.nodes:
        if node.op_type == "Conv":
            del node.attribute[:]
            node.attribute.extend([helper.make_attribute("pads", [1, 1])])
    for name in ("a_w", "b_w"):
        m.constants[name] = np.ones((4, m.constants[name].shape[1], 3), np.int8)
    kinds = _kinds(m.lower(m.at))
    assert kinds.count("conv2d") == 2 and kinds.count("transpose") == 2


def test_a_convolution_in_three_dimensions_stays_on_the_host() -> None:
    m = _Model(1, 3, 8, 8, 8)
    m.conv("a", m.at, 4, 3)
    m.constants["a_w"] = np.ones((4, 3, 3, 3, 3), np.int8)
    for node in m.nodes:
        if node.op_type == "Conv":
            del node.attribute[:]
    lowering = m.lower("a_d")
    (verdict,) = [v for op, v in lowering.verdicts.items() if op.name == "a"]
    assert verdict.placed_on == "host"
    assert {"two-dimensional", "rank-limit"} <= {r.rule for r in verdict.reasons}


@pytest.mark.parametrize("between", [False, True])
def test_batch_normalization_is_taken_directly_after_a_convolution(between: bool) -> None:
    m = _Model(1, 4, 8, 8)
    x = m.conv("a", m.at, 4, 4)
    m.constants["one"], m.constants["zero"] = np.ones(4, np.float32), np.zeros(4, np.float32)
    if not between:
        del m.nodes[-2:]
        x = "a"
    parameters = ["one", "zero", "zero", "one"]
    m.nodes.append(helper.make_node("BatchNormalization", [x, *parameters], ["n"], name="n"))
    lowering = m.lower(m.quantize("n"))
    (verdict,) = [v for op, v in lowering.verdicts.items() if op.name == "n"]
    assert verdict.placed_on == ("host" if between else "npu")
    assert [r.rule for r in verdict.reasons] == (["after-convolution"] if between else [])


@pytest.mark.parametrize("pad, placed_on", [(3, "npu"), (1 << 20, "host")])
def test_padding_as_wide_as_the_window_is_an_operator_of_its_own(pad: int, placed_on: str) -> None:
    m = _Model(1, 4, 8, 8)
    m.conv("a", m.at, 4, 4)
    node = next(n for n in m.nodes if n.op_type == "Conv")
    del node.attribute[:]
    fields = {"pads": [pad] * 4, "strides": [max(pad // 2, 1)] * 2}
    node.attribute.extend([helper.make_attribute(k, v) for k, v in fields.items()])
    lowering = m.lower("a_d")
    (verdict,) = [v for op, v in lowering.verdicts.items() if op.name == "a"]
    assert verdict.placed_on == placed_on
    assert ("pad" in _kinds(lowering)) == (placed_on == "npu")


def test_16_bit_values_that_are_quantised_to_8_bit() -> None:
    """Nothing of 16 bits is on the NPU; the real numbers between the two are made and quantised on the host."""
    m = _Model(1, 8)
    m.constants |= {"wide_s": np.float32(0.001), "wide_z": np.uint16(32768)}
    m.nodes = [helper.make_node("QuantizeLinear", ["x", "wide_s", "wide_z"], ["w"])]
    m.nodes.append(helper.make_node("DequantizeLinear", ["w", "wide_s", "wide_z"], ["real"]))
    lowering = m.lower(m.quantize("real"), opset=21)
    assert _kinds(lowering) == ["QuantizeLinear", "DequantizeLinear", "QuantizeLinear", "dequantize"]


def test_a_pool_that_is_refused_late_leaves_no_form_behind() -> None:
    """The NPU's image of height 1 is made before its command turns out not to carry the stride."""
    m = _Model(1, 1, 140002)
    attributes = {"kernel_shape": [2], "strides": [70000]}
    m.nodes.append(helper.make_node("MaxPool", [m.at], ["wide"], **attributes))
    m.nodes.append(helper.make_node("MaxPool", [m.at], ["narrow"], kernel_shape=[2]))
    lowering = m.lower(m.quantize("wide"), m.quantize("narrow"))
    placed = [v.placed_on for op, v in lowering.verdicts.items() if op.op_type == "MaxPool"]
    assert placed == ["host", "npu"]


def _twins(*zeros: str) -> _Model:
    """A Relu that is quantised once for each of the zero points, constants "a" and "b" of the same value and "c" of another."""
    m = _Model(1, 4, 8, 8)
    m.constants |= {"t": np.float32(0.5), "a": np.int8(1), "b": np.int8(1), "c": np.int8(2)}
    m.nodes.append(helper.make_node("Relu", [m.at], ["r"]))
    for zero in zeros:
        m.nodes.append(helper.make_node("QuantizeLinear", ["r", "t", zero], [f"q_{zero}"], name=f"q_{zero}"))
        m.nodes.append(helper.make_node("DequantizeLinear", [f"q_{zero}", "t", zero], [f"d_{zero}"]))
    return m


def test_equal_quantize_linear_are_computed_once() -> None:
    """As a quantiser writes one for each reader."""
    m = _twins("a", "b")
    m.nodes.append(helper.make_node("Add", ["d_a", "d_b"], ["sum"]))
    lowering = m.lower(m.quantize("sum"), "q_b")
    assert {v.placed_on for v in lowering.verdicts.values()} == {"npu"}
    assert _kinds(lowering).count("table_lookup") == 1
    (add,) = [op for op in lowering.operators if op.op_type == "npu.add"]
    assert add.inputs[0] is add.inputs[1]
    assert lowering.operators[-1].outputs[0].name == "q_b"  # an output has a tensor of its own


def test_a_real_number_that_is_quantised_in_two_ways_is_no_unit() -> None:
    m = _twins("a", "c")
    m.nodes.append(helper.make_node("Add", ["d_a", "d_c"], ["sum"]))
    lowering = m.lower(m.quantize("sum"))
    placed = {op.op_type: v.placed_on for op, v in lowering.verdicts.items()}
    assert (placed["Relu"], placed["Add"]) == ("host", "npu")


def test_equal_quantize_linear_stay_apart_on_the_host() -> None:
    """There onnxruntime has to find of them what is in the model."""
    m = _Model(1, 4, 8, 8)
    m.constants |= {"t": np.float32(0.5), "a": np.int8(1), "b": np.int8(1)}
    m.nodes.append(helper.make_node("Sinh", [m.at], ["r"]))
    for zero in "ab":
        m.nodes.append(helper.make_node("QuantizeLinear", ["r", "t", zero], [f"q_{zero}"]))
        m.nodes.append(helper.make_node("DequantizeLinear", [f"q_{zero}", "t", zero], [f"d_{zero}"]))
    m.nodes.append(helper.make_node("Add", ["d_a", "d_b"], ["sum"]))
    kinds = _kinds(m.lower(m.quantize("sum")))
    assert kinds.count("QuantizeLinear") == 2 and kinds.count("add") == 1


@pytest.mark.parametrize(
    ("change", "rule", "found"),
    [
        ({"axis": 1}, "output-channels", "axis 1 of w_q, [4, 4, 3, 3]"),
        ({"zero": np.arange(4, dtype=np.int8)}, "equal-zero-points", "w_q: zero points from 0 to 3"),
        ({"dtype": "int4"}, "eight-bit-weights", "int4: w_q"),
        ({"block_size": 2, "axis": 1}, "block-size", "block_size 2 along axis 1 of 'w_q', [4, 4, 3, 3]"),
    ],
)
def test_weights_that_no_command_takes(change: dict, rule: str, found: str) -> None:
    """They are named as weights, and what to do about them is no more than what they need."""
    m = _Model(1, 4, 8, 8)
    block = change.get("block_size", 0)
    scale = np.full((4, 2, 3, 3) if block else 4, 0.01, np.float32)
    m.constants |= {"w_s": scale, "w_z": change.get("zero", np.zeros(scale.shape, np.int8))}
    m.constants["w_q"] = np.ones((4, 4, 3, 3), np.int8)
    if "dtype" in change:
        m.constants["w_q"] = helper.make_tensor("w_q", TensorProto.INT4, [4, 4, 3, 3], [1] * 144)
        m.constants["w_z"] = helper.make_tensor("w_z", TensorProto.INT4, [4], [0] * 4)
    attributes = {"axis": change.get("axis", 0)} | ({"block_size": block} if block else {})
    m.nodes.append(helper.make_node("DequantizeLinear", ["w_q", "w_s", "w_z"], ["w"], **attributes))
    m.nodes.append(helper.make_node("Conv", [m.at, "w"], ["c"], name="conv"))
    lowering = m.lower(m.quantize("c"), opset=21)
    (verdict,) = [v for op, v in lowering.verdicts.items() if op.name == "conv"]
    assert [(r.rule, r.actual) for r in verdict.reasons] == [(rule, found)]
    assert "activation" not in verdict.reasons[0].hint


@pytest.mark.parametrize("is_constant", [True, False])
def test_an_operand_that_is_not_quantised(is_constant: bool) -> None:
    """What to do about a constant speaks of constants, and of nothing else."""
    m = _Model(1, 4, 8, 8)
    real = "k"
    if is_constant:
        m.constants["k"] = np.ones((1, 4, 8, 8), np.float32)
    else:
        m.nodes.append(helper.make_node("Sin", [m.at], [real]))
    m.nodes.append(helper.make_node("Concat", [m.at, real], ["c"], name="concat", axis=1))
    lowering = m.lower(m.quantize("c"))
    (verdict,) = [v for op, v in lowering.verdicts.items() if op.name == "concat"]
    (reason,) = [r for r in verdict.reasons if r.rule == "eight-bit-activations"]
    assert reason.actual.startswith("float32: k") and "activation" not in reason.hint
    assert reason.hint.startswith("Quantise these constants as well") == is_constant
