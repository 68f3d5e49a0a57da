"""How tensors, constants and attributes are spelled in the dumps.  Nothing here depends on addresses or hash order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import xxhash

from furiosa.compiler.dfg.graph import Operator, Quantization, Tensor
from furiosa.enf.errors import visible

_FEW = 8  # values shown one by one


class Names:
    """Short names in the order of first use: ``%3`` for a tensor, ``$3`` for a constant, ``_`` for an omitted input."""

    def __init__(self) -> None:
        self._names: dict[Tensor, str] = {}
        self.constants: list[Tensor] = []
        self._values = 0

    def __call__(self, t: Tensor | None) -> str:
        if t is None:
            return "_"
        name = self._names.get(t)
        if name is None:
            if t.is_constant:
                name = f"${len(self.constants)}"
                self.constants.append(t)
            else:
                name = f"%{self._values}"
                self._values += 1
            self._names[t] = name
        return name

    def list(self, tensors: Iterable[Tensor | None]) -> str:
        return "(" + ", ".join(map(self, tensors)) + ")"


def quote(name: str) -> str:
    """A name in quotes on one line."""
    return '"' + visible(name.replace("\\", "\\\\")).replace('"', '\\"') + '"'


def tensor(t: Tensor) -> str:
    """``int8[1,32,32,3] scale 0.5 zero -128 "name"``."""
    return f"{t.dtype}[{','.join(map(str, t.shape))}]{_quantization(t.quantization)} {quote(t.name)}"


def constant(t: Tensor) -> str:
    """The tensor with its value, or the digest (XXH3-64) of its bytes where the values are many."""
    return f"{tensor(t)} = {_array(t.data)}"


def operator(op: Operator, names: Names) -> str:
    """``CONV_2D (%0, $0, $1) -> (%1) {stride_h: 2} "name"``."""
    attributes = f" {value(op.attributes, names)}" if op.attributes else ""
    return f"{op.op_type} {names.list(op.inputs)} -> {names.list(op.outputs)}{attributes} {quote(op.name)}"


def value(v: Any, names: Names) -> str:
    """An attribute's value."""
    if isinstance(v, dict):
        return (
            "{"
            + ", ".join(
                f"{k}: {value(x, names)}" for k, x in sorted(v.items(), key=lambda item: str(item[0]))
            )
            + "}"
        )
    if isinstance(v, (list, tuple)):
        return "[" + ", ".join(value(x, names) for x in v) + "]"
    if v is None or isinstance(v, (bool, int, float, np.bool_, np.integer, np.floating)):
        return str(v)
    if isinstance(v, str):
        return quote(v)
    if isinstance(v, Tensor):
        return names(v)
    if isinstance(v, np.ndarray):
        return f"{v.dtype}[{','.join(map(str, v.shape))}] {_array(v)}"
    if isinstance(v, (bytes, bytearray, memoryview)):
        return f"<{memoryview(v).nbytes} bytes, xxh3 {xxhash.xxh3_64_hexdigest(v)}>"
    if hasattr(v, "SerializeToString"):  # a subgraph or a type, as the source's own message
        data = v.SerializeToString(deterministic=True)
        return f"<{type(v).__name__}, {len(data)} bytes, xxh3 {xxhash.xxh3_64_hexdigest(data)}>"
    return f"<{type(v).__name__}>"


def _quantization(q: Quantization | None) -> str:
    if q is None:
        return ""
    axis = f" axis {q.axis}" if q.per_channel else ""
    return f" scale {_array(q.scale)} zero {_array(q.zero_point)}{axis}"


def _array(data: np.ndarray) -> str:
    if data.size <= _FEW:
        values = [value(x, Names()) if isinstance(x, (str, bytes)) else str(x) for x in data.reshape(-1)]
        return values[0] if len(values) == 1 else f"[{', '.join(values)}]"
    if data.dtype.hasobject:  # strings
        raw: Any = "\0".join(map(str, data.reshape(-1).tolist())).encode("utf-8", "backslashreplace")
    else:
        raw = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
    return f"<{data.size} values, xxh3 {xxhash.xxh3_64_hexdigest(raw)}>"
