"""The schema tables against the classes that the reference runtime ships: every field, slot, default and enum value."""

from __future__ import annotations

import inspect
import re

import pytest
from ai_edge_litert import schema_py_generated as official

from furiosa.compiler.frontend.tflite import schema

TABLES = sorted(schema._tables)
NUMBERS = {"bool": "Bool", "f32": "Float32", "i8": "Int8", "u8": "Uint8", "i32": "Int32", "u32": "Uint32"}
NUMBERS |= {"u16": "Uint16", "i64": "Int64", "u64": "Uint64"}


def camel(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


@pytest.mark.parametrize("enum", sorted(schema._enums))
def test_enum(enum: str) -> None:
    theirs = {
        name: value for name, value in vars(getattr(official, enum)).items() if not name.startswith("_")
    }
    ours = schema.members(enum)
    assert {name: theirs.get(name) for name in ours} == {name: i for i, name in enumerate(ours)}


@pytest.mark.parametrize("table", TABLES)
def test_table(table: str) -> None:
    cls = getattr(official, table)
    defaults = getattr(official, f"{table}T")()
    for slot, field in enumerate(schema.fields(table)):
        if field is None:
            continue
        accessor = inspect.getsource(getattr(cls, camel(field.name)))
        assert int(re.search(r"_tab\.Offset\((\d+)\)", accessor).group(1)) == 4 + 2 * slot, field
        assert field.kind == kind_of(accessor), field
        if field.kind in ("scalar", "vector"):
            assert f"number_types.{NUMBERS[field.type]}Flags, " in accessor, field
        elif field.kind in ("table", "tables"):
            assert f"obj = {field.type}()" in accessor, field
        if field.kind == "scalar":
            name = camel(field.name)
            assert getattr(defaults, name[0].lower() + name[1:]) == field.default, field


def kind_of(accessor: str) -> str:
    if "_tab.Union" in accessor:
        return "union"
    if "_tab.String" in accessor:
        return "string"
    vector = "_tab.Vector(" in accessor
    if "obj = " in accessor:
        return "tables" if vector else "table"
    return "vector" if vector else "scalar"


def test_nothing_is_missing() -> None:
    """No options field that the locked reference runtime knows is left out."""
    for union in schema.UNIONS:
        for name in schema.members(union)[1:]:
            theirs = [n for n in vars(getattr(official, f"{name}T")()) if not n.startswith("_")]
            assert len(theirs) == len([f for f in schema.fields(name) if f is not None]), name
