"""Signatures: the entry points of a TFLite model, each a subgraph with names for its inputs and outputs."""

from __future__ import annotations

from typing import NamedTuple

from furiosa.compiler.errors import InvalidConfig, InvalidModel
from furiosa.compiler.frontend.tflite.tables import Table
from furiosa.compiler.selection import listed, unknown

_OPTION = "--signature"


class Entry(NamedTuple):
    """The subgraph that is compiled, and its inputs and outputs: names of the signature's, if ``is_named``, and numbers of tensors."""

    subgraph: int
    inputs: list[tuple[str, int]]
    outputs: list[tuple[str, int]]
    is_named: bool


def entry(model: Table, name: str = "") -> Entry:
    """The signature that is named; without a name the first subgraph, unless several signatures leave that open.

    Inputs and outputs stand as LiteRT's signature runner has them, by their names.

    Raises:
        InvalidConfig: the model has no such signature, or several and none is named.
        InvalidModel: the signature refers to what is not there.
    """
    signatures = model["signature_defs"]
    known = [s["signature_key"] or "" for s in signatures]
    if name:
        if not known:
            raise InvalidConfig(f"{_OPTION} {name!r}: the model has no signatures")
        if name not in known:
            raise unknown(_OPTION, name, "signature", dict.fromkeys(known))
        return _of(model, signatures[known.index(name)], name)
    if len(known) > 1:
        raise InvalidConfig(
            f"the model has {len(known)} signatures, {listed(known)}: name the one to compile, {_OPTION} NAME or signature = 'NAME'"
        )
    if known and signatures[0]["subgraph_index"] != 0:
        raise InvalidConfig(
            f"the model's signature {known[0]!r} is not of its first subgraph: name it to compile it, {_OPTION} {known[0]}"
        )
    main = model["subgraphs"][0]
    inputs, outputs = ([("", i) for i in main[key].tolist()] for key in ("inputs", "outputs"))
    return Entry(0, inputs, outputs, is_named=False)


def _of(model: Table, signature: Table, name: str) -> Entry:
    k = signature["subgraph_index"]
    if k >= len(model["subgraphs"]):
        raise InvalidModel(
            f"the signature {name!r} refers to subgraph {k}, but the model has {len(model['subgraphs'])}"
        )
    subgraph = model["subgraphs"][k]
    inputs, outputs = (
        {t["name"]: t["tensor_index"] for t in signature[key] if t["name"] is not None}
        for key in ("inputs", "outputs")
    )
    for what, named in (("input", inputs), ("output", outputs)):
        own = set(subgraph[f"{what}s"].tolist())
        for tensor_name, index in named.items():
            if index not in own:
                raise InvalidModel(
                    f"the {what} {tensor_name!r} of the signature {name!r} is no {what} of its subgraph (tensor {index})"
                )
    if sorted(inputs.values()) != sorted(subgraph["inputs"].tolist()):
        raise InvalidModel(f"the signature {name!r} does not give each input of its subgraph one name")
    # in the order of std::map<std::string, ...>
    in_order = (sorted(named.items(), key=lambda item: item[0].encode()) for named in (inputs, outputs))
    return Entry(k, *in_order, is_named=True)
