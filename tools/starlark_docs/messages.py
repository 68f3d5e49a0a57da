"""The messages that Bazel's rule `starlark_doc_extract` writes, as far as the page of the rules needs them.

Names and numbers: src/main/protobuf/stardoc_output.proto of Bazel.
"""

from __future__ import annotations

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELD = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "starlark_docs"
# message -> (number, name, type, repeated); a type that is no built-in one is a message
_MESSAGES = {
    "Module": (
        (1, "rules", "Rule", True),
        (2, "providers", "Provider", True),
        (3, "functions", "Function", True),
        (4, "aspects", "Aspect", True),
        (5, "doc", "string", False),
        (7, "extensions", "Extension", True),
    ),
    "Extension": ((1, "name", "string", False), (2, "doc", "string", False), (3, "tags", "Rule", True)),
    "Rule": ((1, "name", "string", False), (2, "doc", "string", False), (3, "attributes", "Attribute", True)),
    "Aspect": (
        (1, "name", "string", False),
        (2, "doc", "string", False),
        (3, "along", "string", True),
        (4, "attributes", "Attribute", True),
    ),
    "Attribute": (
        (1, "name", "string", False),
        (2, "doc", "string", False),
        (3, "type", "int32", False),
        (4, "mandatory", "bool", False),
        (6, "default", "string", False),
    ),
    "Provider": ((1, "name", "string", False), (2, "doc", "string", False), (3, "fields", "Field", True)),
    "Field": ((1, "name", "string", False), (2, "doc", "string", False)),
    "Function": (
        (1, "name", "string", False),
        (2, "parameters", "Parameter", True),
        (3, "doc", "string", False),
    ),
    "Parameter": (
        (1, "name", "string", False),
        (2, "doc", "string", False),
        (3, "default", "string", False),
        (4, "mandatory", "bool", False),
        (5, "role", "int32", False),
    ),
}
# AttributeType
TYPES = {
    1: "name",
    2: "int",
    3: "label",
    4: "string",
    5: "list of strings",
    6: "list of ints",
    7: "list of labels",
    8: "bool",
    9: "dict of labels to strings",
    10: "dict of strings",
    11: "dict of lists of strings",
    12: "output",
    13: "list of outputs",
    14: "dict of strings to labels",
}
KWARGS = 5  # FunctionParamRole: what takes further keyword arguments


def _module_class() -> type:
    file = descriptor_pb2.FileDescriptorProto(name=f"{_PACKAGE}.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, field, kind, repeated in fields:
            entry = message.field.add(name=field, number=number)
            entry.label = _FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
            if kind in _MESSAGES:
                entry.type, entry.type_name = _FIELD.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
            else:
                entry.type = _FIELD.Type.Value(f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Module"))


Module = _module_class()
