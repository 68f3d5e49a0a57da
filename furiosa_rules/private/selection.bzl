"""What of a model file is compiled: sizes of the dimensions that it leaves open, and tensors at which it is cut."""

_DOCS = {
    "dims": "Sizes of open dimensions, by the names that an ONNX model has for them: `{\"height\": \"640\"}`.",
    "input_shapes": "The shapes of inputs whose dimensions the model leaves open: `{\"images\": \"1x3x640x640\"}`.",
    "inputs": "Tensors of the model at which it is cut: the ENF begins there; left out: the model's inputs, as far as they are needed.",
    "outputs": "Tensors of the model at which it is cut: the ENF ends there; left out: the model's outputs.",
    "signature": "The signature of a TFLite model that is compiled, with its names of inputs and outputs; needed where the model has several.",
}

# Of every rule that compiles.
SELECTION_ATTRS = {
    "dims": attr.string_dict(doc = _DOCS["dims"]),
    "input_shapes": attr.string_dict(doc = _DOCS["input_shapes"]),
    "inputs": attr.string_list(doc = _DOCS["inputs"]),
    "outputs": attr.string_list(doc = _DOCS["outputs"]),
    "signature": attr.string(doc = _DOCS["signature"]),
}

# The options of the compiler that are the rule's business, and the attributes in their place.
SELECTION_OPTIONS = {
    "--dim": "dims",
    "--input-shape": "input_shapes",
    "--inputs": "inputs",
    "--outputs": "outputs",
    "--signature": "signature",
}

def selection_arguments(attributes):
    """The arguments of the compiler, in one order however the attributes are written.

    Args:
      attributes: struct of the attributes in SELECTION_ATTRS

    Returns:
      a list of strings
    """
    for attribute in ("dims", "input_shapes"):
        for name, value in getattr(attributes, attribute).items():
            _check_name(attribute, name)
            if not _is_shape(value) or attribute == "dims" and "x" in value:
                form = "a size like \"640\"" if attribute == "dims" else "a shape like \"1x3x640x640\""
                fail("%s: %r of %r is not %s" % (attribute, value, name, form))
    for attribute in ("inputs", "outputs"):
        for name in getattr(attributes, attribute):
            _check_name(attribute, name)
    if "\n" in attributes.signature:
        fail("signature: %r names no signature" % attributes.signature)
    return (
        ["--input-shape=%s=%s" % (name, shape) for name, shape in sorted(attributes.input_shapes.items())] +
        ["--dim=%s=%s" % (name, size) for name, size in sorted(attributes.dims.items())] +
        ["--inputs=" + name for name in attributes.inputs] +
        ["--outputs=" + name for name in attributes.outputs] +
        (["--signature=" + attributes.signature] if attributes.signature else [])
    )

def _check_name(attribute, name):
    if not name or "\n" in name:
        fail("%s: %r names no tensor" % (attribute, name))

def _is_shape(text):
    return not [size for size in text.split("x") if not size.isdigit() or not size.strip("0") or len(size) > 10]

def as_text(sizes):
    """Shapes and sizes in the form that attributes of strings take.

    Args:
      sizes: None, a `select()`, or a dict whose values are strings, ints or lists of ints

    Returns:
      the same with strings for values; `select()`s and None as they are
    """
    if type(sizes) != "dict":
        return sizes
    return {name: _text(value) for name, value in sizes.items()}

def _text(value):
    return "x".join([str(size) for size in value]) if type(value) in ("list", "tuple") else str(value)
