"""What both formats' lowerings build on: forms of a tensor, operators emitted, verdicts recorded.

A tensor of the source model may exist in up to three forms: as the source says ("host form": its dtype and layout), as
int8 in the source's layout ("plain"), and as int8 with the channels last ("image", four dimensions).  A form is made
where it is first asked for.

A lowering function works on a layer above what the others made (``Lowering.transaction``), which counts only when the function is done:
so a refusal leaves nothing behind, wherever in the function it comes.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import xxhash

from furiosa.compiler import limits
from furiosa.compiler.dfg.graph import Graph, Operator, Quantization, Tensor
from furiosa.compiler.dfg.legality import Illegal
from furiosa.compiler.ldfg import arithmetic, rules, vendor
from furiosa.compiler.ldfg.rules import Facts
from furiosa.compiler.ldfg.verdict import Refused, Rule, Verdict, failures, rule_id
from furiosa.enf.isa import BY_NAME, Rounding

_COMMANDS = {"npu.conv_transpose2d": "CONV2D"}  # of operators that have no command of their name

NCHW_TO_NHWC = (0, 2, 3, 1)
NHWC_TO_NCHW = (0, 3, 1, 2)


_Content = tuple[str, tuple[int, ...], int]  # element type, shape and hash of an array


@dataclass(slots=True)
class Made:
    """All that lowering has made so far; nothing else of a ``Lowering`` changes while its functions run."""

    operators: list[Operator] = field(default_factory=list)
    origins: MutableMapping[Operator, list[Operator]] = field(default_factory=dict)
    verdicts: MutableMapping[Operator, Verdict] = field(default_factory=dict)
    plain: MutableMapping[Tensor, Tensor] = field(default_factory=dict)
    image: MutableMapping[Tensor, Tensor] = field(default_factory=dict)
    spatial: MutableMapping[Tensor, Tensor] = field(default_factory=dict)
    host: MutableMapping[Tensor, None] = field(default_factory=dict)  # an ordered set
    arrays: MutableMapping[_Content, np.ndarray] = field(
        default_factory=dict
    )  # of constants; equal ones are one
    nbytes: int = 0  # of the arrays

    def layer(self) -> Made:
        """One that shows the same and keeps for itself what is added."""
        return Made([], *(ChainMap({}, getattr(self, name)) for name in _MAPS), self.nbytes)

    def take(self, layer: Made) -> None:
        """Adds what was added to a layer."""
        self.operators += layer.operators
        self.nbytes = layer.nbytes
        for name in _MAPS:
            getattr(self, name).update(getattr(layer, name).maps[0])


_MAPS = [f.name for f in fields(Made)][1:-1]


class Lowering:
    """The ldfg under construction.

    ``graph`` is the source with the quantisation that its operators state; ``operators`` are ``npu.*`` operators and host
    operators (the source's own), in order; ``verdicts`` maps each source operator to where it runs; ``origins`` maps each lowered
    operator to the source operators it stands for.
    """

    def __init__(self, graph: Graph, release: str = vendor.LATEST):
        self.graph = graph
        self.release = release  # of the vendor's SDK, whose table of operators counts
        # of the lowering function that runs: for which operator, the rules that it declares, those it has checked
        self._op_type = ""
        self.gap = ""  # ONNX: what the unit being lowered lacks to be quantised, where its neighbours are
        self._declared: tuple[Rule, ...] = ()
        self._checked: set[Rule] = set()
        self.results = set(graph.outputs)
        self.channels_last = graph.format == "tflite"
        self.current: list[Operator] = []  # the source operators being lowered
        self._made = Made(host=dict.fromkeys(graph.inputs))
        self._real: dict[
            Tensor, Tensor
        ] = {}  # ONNX: quantised tensors that the source has not -> its real ones
        self._integers: dict[Tensor, Tensor] = {}  # and back
        # tensors whose values another one has as well, which they map to: what has been made of that serves both
        self.twins: dict[Tensor, Tensor] = {}
        # results of moves that whoever reads them on the host takes along, with the DequantizeLinear before them
        self.taken_along: set[Tensor] = set()
        # host operators that each part of the host that reads their results does for itself
        self.companions: set[Operator] = set()
        self.consumers: dict[Tensor, list[Operator]] = {}
        self.producer: dict[Tensor, Operator] = {}
        for op in graph.operators:
            for t in op.inputs:
                if t is not None:
                    self.consumers.setdefault(t, []).append(op)
            for t in op.outputs:
                self.producer[t] = op
        self.constant_bytes = sum(t.data.nbytes for t in self.consumers if t.data is not None)

    @property
    def operators(self) -> list[Operator]:
        return self._made.operators

    @operators.setter
    def operators(self, operators: list[Operator]) -> None:
        self._made.operators = operators

    @property
    def verdicts(self) -> MutableMapping[Operator, Verdict]:
        return self._made.verdicts

    @property
    def origins(self) -> MutableMapping[Operator, list[Operator]]:
        return self._made.origins

    @contextmanager
    def transaction(self) -> Iterator[Made]:
        """What is made inside counts when the block ends; where it raises, nothing of it is left.  Gives what the block has made."""
        before, self._made = self._made, self._made.layer()
        try:
            yield self._made
            before.take(self._made)
        finally:
            self._made = before

    # -- forms of a tensor ----------------------------------------------------------------------------------------

    def quantization(self, t: Tensor) -> tuple[np.float32, int]:
        """Scale and zero point of a tensor's int8 form."""
        assert t.quantization is not None
        zero_point = int(t.quantization.zero_point.reshape(-1)[0])
        return np.float32(t.quantization.scale.reshape(-1)[0]), zero_point - 128 * (t.dtype == "uint8")

    def plain(self, t: Tensor) -> Tensor:
        """The int8 (or float32) form in the source's layout."""
        t = self._twin(t)
        form = self._made.plain.get(t)
        if form is not None:
            return form
        if t.is_constant:
            form = self.constant(t.name, _as_int8(t.data), t.quantization)
        elif t in self._made.image:
            form = self._permuted(self._made.image[t], t, NHWC_TO_NCHW)
        elif t in self._made.spatial:
            form = self.emit(
                "npu.reshape", [self.plain(self._made.spatial[t])], t.name, t.shape, t.quantization
            )
        elif t in self._made.host:
            form = t
            if t.dtype == "uint8":
                form = self.emit(
                    "npu.table_lookup",
                    [t, self.table("uint8_to_int8", _flip_sign)],
                    t.name,
                    t.shape,
                    t.quantization,
                )
        elif (integers := self.integers(t)) is not None:
            form = self._converted("npu.dequantize", integers, self.result(t))
        elif t in self._real and self.is_made(self._real[t]):
            form = self._converted("npu.quantize", self._real[t], self.result(t))
        else:
            raise AssertionError(f"tensor {t.name} is used before it is made")
        self._made.plain[t] = form
        return form

    def _twin(self, t: Tensor) -> Tensor:
        """What stands for a tensor on the NPU; of twins on the host each stands for itself, so that none is lost there."""
        other = self.twins.get(t)
        return t if other is None or t in self._made.host or not self.is_made(other) else other

    def same_values(self, integers: Tensor, real: Tensor) -> None:
        """Says that a quantised tensor, which the source has not, and a real one hold the same values: either gives the other."""
        self._real[integers] = real
        self._integers[real] = integers

    def integers(self, real: Tensor) -> Tensor | None:
        """The quantised tensor of the same values that has been made."""
        found = self._integers.get(real)
        return found if found is not None and self.is_made(found) else None

    def _converted(self, op_type: str, source: Tensor, result: Tensor) -> Tensor:
        """Exact both ways: each real value is an integer of the scale."""
        scale, zero_point = self.quantization(source if op_type == "npu.dequantize" else result)
        rounding = {} if op_type == "npu.dequantize" else {"rounding": Rounding.ONNXRUNTIME}
        fields = {"scale": float(scale), "zero_point": zero_point, **rounding}
        return self.emit_to(op_type, [self.plain(source)], result, **fields)

    def image(self, t: Tensor) -> Tensor:
        """The int8 form with the channels last; ``t`` has four dimensions."""
        if self.channels_last:
            return self.plain(t)
        t = self._twin(t)
        form = self._made.image.get(t)
        if form is None:
            plain = self.plain(t)
            if plain.is_constant:
                form = self.constant(t.name, plain.data.transpose(NCHW_TO_NHWC), t.quantization)
            else:
                form = self._permuted(plain, t, NCHW_TO_NHWC)
            self._made.image[t] = form
        return form

    def spatial(self, t: Tensor) -> Tensor:
        """A tensor [N, C, W] as one of height 1, [N, C, 1, W], over which windows slide; any other as it is."""
        if len(t.shape) != 3:
            return t
        t = self._twin(t)
        if t not in self._made.spatial:
            plain = self.plain(t)
            wide = self.spatial_result(t)
            self._made.plain[wide] = self.emit("npu.reshape", [plain], t.name, wide.shape, t.quantization)
        return self._made.spatial[t]

    def spatial_result(self, t: Tensor) -> Tensor:
        """The same for a tensor that is yet to be made: what gives the tensor returned a form gives ``t`` one."""
        if len(t.shape) != 3:
            return t
        n, c, w = t.shape
        self._made.spatial[t] = Tensor(t.name, (n, c, 1, w), t.dtype, t.quantization)
        return self._made.spatial[t]

    def _permuted(self, form: Tensor, t: Tensor, perm: tuple[int, ...]) -> Tensor:
        """The other layout of a tensor; where only dimensions of one element change places the bytes stay."""
        shape = tuple(form.shape[i] for i in perm)
        moved = [i for i in perm if form.shape[i] != 1]
        if moved == sorted(moved):
            return self.emit("npu.reshape", [form], t.name, shape, t.quantization, dtype=form.dtype)
        return self.emit("npu.transpose", [form], t.name, shape, t.quantization, dtype=form.dtype, perm=perm)

    def has_image(self, t: Tensor) -> bool:
        """Whether the channels-last form is at hand or free."""
        t = self._twin(t)
        return self.channels_last or t in self._made.image or (t.is_constant and len(t.shape) == 4)

    def is_made(self, t: Tensor) -> bool:
        """Whether any form of the tensor is there."""
        made = (self._made.host, self._made.plain, self._made.image, self._made.spatial)
        return t.is_constant or any(t in m for m in made) or (t in self.twins and self.is_made(self.twins[t]))

    def host(self, t: Tensor) -> Tensor:
        """The tensor as the source says, for a host operator or as an output of the model."""
        if t.is_constant or t in self._made.host:
            return t
        plain = self.plain(t)
        if plain is not t:
            if t.dtype == "uint8":
                self.emit_to("npu.table_lookup", [plain, self.table("int8_to_uint8", _flip_sign)], t)
            else:
                self.emit_to("npu.reshape", [plain], t)
        self._made.host[t] = None
        return t

    def result(self, t: Tensor, *, image: bool = False) -> Tensor:
        """A fresh int8 tensor for the value of the source tensor ``t``, in the layout asked for."""
        is_image = image and not self.channels_last
        if t.dtype in ("int8", "float32") and not is_image:
            form = t
            self._made.host[t] = None
        else:
            shape = tuple(t.shape[i] for i in NCHW_TO_NHWC) if is_image else t.shape
            form = Tensor(t.name, shape, "int8", t.quantization)
        (self._made.image if is_image else self._made.plain)[t] = form
        return form

    def forms(self, t: Tensor) -> list[tuple[Tensor, tuple[int, ...] | None]]:
        """The forms of a source tensor that were made, each with the permutation back to the source's layout, if any."""
        t = self._twin(t)
        forms: dict[Tensor, tuple[int, ...] | None] = {}
        if t in self._made.plain:
            forms[self._made.plain[t]] = None
        if t in self._made.image:
            forms[self._made.image[t]] = NHWC_TO_NCHW
        if t in self._made.host:
            forms[t] = None
        return list(forms.items())

    # -- operators ------------------------------------------------------------------------------------------------

    def emit_to(self, op_type: str, inputs: list[Tensor], output: Tensor, **attributes: Any) -> Tensor:
        """Appends an NPU operator that writes ``output``.

        Raises:
            Refused: a command cannot carry one of the attributes.
        """
        self.check_numbers(op_type, attributes)
        op = Operator(output.name, op_type, list(inputs), [output], attributes)
        self.operators.append(op)
        self.origins[op] = self.current
        return output

    def emit(
        self,
        op_type: str,
        inputs: list[Tensor],
        name: str,
        shape: tuple[int, ...],
        quantization: Quantization | None,
        dtype: str = "int8",
        **attributes: Any,
    ) -> Tensor:
        """Appends an NPU operator with a fresh output."""
        return self.emit_to(op_type, inputs, Tensor(name, shape, dtype, quantization), **attributes)

    def constant(self, name: str, data: np.ndarray, quantization: Quantization | None = None) -> Tensor:
        """A constant of an NPU operator.

        Raises:
            TooLarge: together they take more than the model gives reason for.
        """
        data = np.ascontiguousarray(data)
        content = data.dtype.name, data.shape, xxhash.xxh3_128_intdigest(data.view(np.uint8).data)
        if content not in self._made.arrays:
            self._made.nbytes += data.nbytes
            limits.check_bytes(self._made.nbytes, self.constant_bytes, "the constants of the NPU's operators")
            self._made.arrays[content] = data
        return Tensor(name, data.shape, data.dtype.name, quantization, self._made.arrays[content])

    def table(self, name: str, function: Any) -> Tensor:
        return self.constant(name, arithmetic.table(function))

    def apply(self, op_type: str, function: Callable[[Lowering, Any], None], subject: Any) -> None:
        """Runs the lowering function of ``op_type``; it is held to the rules that it declares (``@requires``).

        Raises:
            Refused: rules fail.
            Illegal: the function is wrong: it places something on the NPU without having checked each declared rule, or
                checks another.
        """
        if not hasattr(function, "rules"):
            raise Illegal(
                "ldfg", f"put @rules.requires(rules.…) above {function.__name__}, which lowers {op_type}"
            )
        self._op_type, self._declared, self._checked = op_type, function.rules, set()
        with self.transaction() as made:
            function(self, subject)
            unchecked = [rule_id(r) for r in self._declared if r not in self._checked]
            if unchecked and made.operators:
                raise Illegal("ldfg", f"{function.__name__} does not check its rules {', '.join(unchecked)}")

    def check(self, rule_set: tuple[Rule, ...], facts: Facts) -> None:
        """Applies the rules; the operator is refused for all that fail."""
        undeclared = [rule_id(r) for r in rule_set if r not in self._declared]
        if undeclared:
            raise Illegal("ldfg", f"a rule for {facts.op_type} is not in @requires: {', '.join(undeclared)}")
        self._checked.update(rule_set)
        facts.op_type, facts.release, facts.gap = self._op_type, self.release, self.gap
        reasons = failures((rules.vendor_release, *rule_set), facts)
        if reasons:
            raise Refused(reasons)

    def check_release(self, op: Operator) -> None:
        """Refuses an operator that the release does not take."""
        reasons = failures((rules.vendor_release,), Facts(op.op_type, [], [], release=self.release))
        if reasons:
            raise Refused(reasons)

    def check_elements(self, operators: list[Operator]) -> None:
        """Refuses operators on tensors of no elements: no command has nothing to do."""
        tensors = [
            t for op in operators for t in (*op.inputs, *op.outputs) if t is not None and not t.is_constant
        ]
        if any(0 in t.shape for t in tensors):
            raise Refused(failures((rules.has_elements,), Facts(operators[0].op_type, tensors, [])))

    def check_numbers(self, op_type: str, attributes: dict[str, Any]) -> None:
        """Refuses attributes of an ``npu.*`` operator that its command cannot carry."""
        row = BY_NAME.get(_COMMANDS.get(op_type, op_type.removeprefix("npu.").upper()))
        misfit = row and row.cannot_carry(attributes)
        if misfit:
            raise Refused(failures((rules.fits_command,), Facts(self._op_type, [], [], attribute=misfit)))

    def to_host(self, op: Operator, verdict: Verdict) -> None:
        """Places a source operator on the host; what the NPU was to make of its results in the meantime it makes no more."""
        for t in op.outputs:
            if self._made.plain.pop(t, None) is not None:
                self.operators = [o for o in self.operators if t not in o.outputs]
        for t in op.inputs:
            if t is not None:
                self.host(t)
        self._made.operators.append(op)
        self._made.origins[op] = [op]
        self._made.host.update(dict.fromkeys(op.outputs))
        self._made.verdicts[op] = verdict


def _flip_sign(q: int) -> int:
    return q ^ 0x80


def _as_int8(data: np.ndarray) -> np.ndarray:
    return (data ^ np.uint8(0x80)).view(np.int8) if data.dtype == np.uint8 else data


__all__ = ["Facts", "Lowering", "Refused", "rules"]
