"""Decodes the attributes of ONNX nodes into plain Python values."""

from __future__ import annotations

from typing import Any

import onnx

from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.frontend.onnx import checks
from furiosa.compiler.frontend.onnx.constants import Constants


def stated(node: onnx.NodeProto, constants: Constants) -> dict[str, Any]:
    """The attributes that a node itself states: text as str, tensors as arrays, subgraphs and types as messages.

    Raises:
        InvalidModel: an attribute's type is unknown, or its tensor cannot be read.
    """
    where = f'operator "{node.name}" ({node.op_type})'
    return {a.name: _value(a, where, constants) for a in node.attribute}


def complete(node: onnx.NodeProto, constants: Constants, opsets: dict[str, int]) -> dict[str, Any]:
    """The same with the defaults of the operator's definition, and with "domain" outside of the standard one."""
    attributes: dict[str, Any] = {}
    schema = checks.schema_of(node, opsets)
    if schema is not None:
        for name, a in schema.attributes.items():
            if a.default_value.name:
                attributes[name] = _value(a.default_value, name, constants)
    attributes |= stated(node, constants)
    if checks.domain_of(node.domain):
        attributes["domain"] = node.domain
    return attributes


def _value(attribute: onnx.AttributeProto, where: str, constants: Constants) -> Any:
    kind = attribute.type
    if kind == attribute.STRING:
        return attribute.s.decode("utf-8", "backslashreplace")
    if kind == attribute.STRINGS:
        return [s.decode("utf-8", "backslashreplace") for s in attribute.strings]
    if kind == attribute.TENSOR:
        return constants.read(attribute.t, name=attribute.name)[2]
    if kind == attribute.TENSORS:
        return [constants.read(t, name=attribute.name)[2] for t in attribute.tensors]
    try:
        value = onnx.helper.get_attribute_value(attribute)
    except ValueError:
        raise InvalidModel(f"{where} has the attribute {attribute.name} of the unknown type {kind}") from None
    return list(value) if kind in (attribute.INTS, attribute.FLOATS) else value
