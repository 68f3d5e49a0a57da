"""The page of a small module, and modules that are not documented."""

from __future__ import annotations

import pytest
from messages import Module
from render import Undocumented, page


@pytest.fixture(params=[0, 5], ids=["bazel 7", "bazel 8"])
def module(request):
    role = request.param
    made = Module(doc="A module.")
    rule = made.rules.add(name="npu_x", doc="Makes x.\n\nAnd more.\n")
    rule.attributes.add(name="name", type=1, mandatory=True)
    rule.attributes.add(name="a", doc="One | two\nlines.", type=4, default='""')
    rule.attributes.add(name="src", doc="The file.", type=3, mandatory=True)
    function = made.functions.add(name="npu_y", doc="Many x.")
    function.parameters.add(name="name", doc="Its name.", mandatory=True)
    function.parameters.add(name="kwargs", doc="More.", role=role)
    function.parameters.add(name="n", doc="How many.", default="1")
    made.aspects.add(name="npu_z", doc="Looks at x.").attributes.add(
        name="name", doc="A name.", mandatory=True
    )
    provider = made.providers.add(name="XInfo", doc="Of x.")
    provider.fields.add(name="x", doc="File: it.")
    tag = made.extensions.add(name="xs", doc="Fetches x.").tags.add(name="file", doc="One x.")
    tag.attributes.add(name="name", doc="Its name.", type=1, mandatory=True)
    tag.attributes.add(name="urls", doc="Where.", type=5, mandatory=True)
    return made


def test_page(module):
    text = page([module.SerializeToString()])
    assert text.partition("\n## ")[2] == (
        "npu_y\n\n"
        "    npu_y(name, n = 1, **kwargs)\n\n"
        "Many x.\n\n"
        "| attribute | | |\n|---|---|---|\n"
        "| `n` |  | How many. |\n"
        "| `kwargs` |  | More. |\n\n"
        "## npu_x\n\n"
        '    npu_x(name, src, a = "")\n\n'
        "Makes x.\n\nAnd more.\n\n"
        "| attribute | | |\n|---|---|---|\n"
        "| `src` | label, mandatory | The file. |\n"
        "| `a` | string | One \\| two lines. |\n\n"
        "## npu_z\n\n"
        "    --aspects=@furiosa_rules//furiosa_rules:defs.bzl%npu_z\n\n"
        "Looks at x.\n\n"
        "## XInfo\n\n"
        "Of x.\n\n"
        "| field | |\n|---|---|\n"
        "| `x` | File: it. |\n\n"
        "## xs\n\n"
        "Fetches x.\n\n"
        "### xs.file\n\n"
        "    xs.file(name, urls)\n\n"
        "One x.\n\n"
        "| attribute | | |\n|---|---|---|\n"
        "| `urls` | list of strings, mandatory | Where. |\n"
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda m: m.rules[0].ClearField("doc"), "npu_x has no documentation"),
        (lambda m: m.rules[0].attributes[1].ClearField("doc"), "npu_x.a has no documentation"),
        (lambda m: m.functions[0].parameters[2].ClearField("doc"), "npu_y.n has no documentation"),
        (lambda m: m.providers[0].fields[0].ClearField("doc"), "XInfo.x has no documentation"),
        (
            lambda m: m.extensions[0].tags[0].attributes[1].ClearField("doc"),
            "xs.file.urls has no documentation",
        ),
        (lambda m: setattr(m.aspects[0], "doc", "x …"), "npu_z: its documentation holds '\\u2026'"),
    ],
)
def test_what_is_not_documented(module, change, sentence):
    change(module)
    with pytest.raises(Undocumented) as e:
        page([module.SerializeToString()])
    assert str(e.value).startswith(sentence)
