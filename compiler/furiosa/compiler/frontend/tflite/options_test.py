"""Every field of an operator's options that holds an enum is given by name."""

from __future__ import annotations

import inspect

import pytest
from ai_edge_litert import schema_py_generated as schema

from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.frontend.tflite.options import _ENUMS, _OPTIONS, decode
from furiosa.compiler.frontend.tflite.tables import defaults, names

NUMBERS = {"algorithm", "composite_attributes_format"}  # of one byte; StableHLO's stay numbers


def absent(**fields) -> dict:
    return dict.fromkeys(("builtin_options", "builtin_options2")) | fields


@pytest.mark.parametrize("union", [schema.BuiltinOptions, schema.BuiltinOptions2], ids=lambda u: u.__name__)
def test_every_enum_is_known(union: type) -> None:
    """The schema stores enums, and little else, in one signed byte."""
    for kind in list(names(union).values())[1:]:
        cls = getattr(schema, kind)
        for name in defaults(kind):
            accessor = inspect.getsource(
                getattr(cls, "".join(p[:1].upper() + p[1:] for p in name.split("_")))
            )
            one_byte = "Int8Flags" in accessor and "Vector" not in accessor
            assert one_byte <= (name in _ENUMS or name in NUMBERS), (kind, name)


def test_defaults_where_the_file_has_no_options() -> None:
    for op_type, kind in _OPTIONS.items():
        assert hasattr(schema.BuiltinOperator, op_type)
        assert decode(op_type, "here", absent()).keys() == defaults(kind).keys()
    assert decode("UNIQUE", "here", absent()) == {}
    assert decode("CONV_2D", "here", absent()) == {
        "padding": "SAME", "stride_w": 0, "stride_h": 0, "fused_activation_function": "NONE",
        "dilation_w_factor": 1, "dilation_h_factor": 1, "quantized_bias_type": "FLOAT32",
    }  # fmt: skip
    assert decode("SQUEEZE", "here", absent()) == {"squeeze_dims": []}


def test_strings_and_vectors_of_the_name_of_an_enum() -> None:
    tag = schema.BuiltinOptions2.StablehloConvolutionOptions
    values = defaults("StablehloConvolutionOptions")
    table = absent(builtin_options2=values, builtin_options2_type=tag)
    assert decode("STABLEHLO_CONVOLUTION", "here", table)["padding"] == []
    table = absent(
        builtin_options=defaults("VarHandleOptions"),
        builtin_options_type=schema.BuiltinOptions.VarHandleOptions,
    )
    assert decode("VAR_HANDLE", "here", table) == {"container": "", "shared_name": ""}


def test_unknown_member_of_an_enum() -> None:
    table = absent(
        builtin_options=defaults("Pool2DOptions") | {"padding": 7},
        builtin_options_type=schema.BuiltinOptions.Pool2DOptions,
    )
    with pytest.raises(InvalidModel, match="operator 3 has padding 7, which Padding does not know"):
        decode("MAX_POOL_2D", "operator 3", table)
