"""Names of devices."""

from __future__ import annotations

import pytest

from furiosa.runtime.device import choose, parse
from furiosa.runtime.errors import InvalidSessionOption


@pytest.mark.parametrize(
    ("text", "target", "count"),
    [
        ("npu0pe0", "warboy", 1),
        ("npu1pe1", "warboy", 1),
        ("npu0pe0-1", "warboy-2pe", 1),
        ("npu0pe0,npu0pe1", "warboy", 2),
        ("npu:0:0", "warboy", 1),
        ("npu:0:0-1", "warboy-2pe", 1),
        ("npu:0:0-1, npu:1:0-1", "warboy-2pe", 2),
        ("warboy*1", "warboy", 1),
        ("warboy(1)*2", "warboy", 2),
        ("warboy(2)*8", "warboy-2pe", 8),
    ],
)
def test_known_names(text, target, count):
    device = parse(text)
    assert (device.target, device.count) == (target, count)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        "npu0",
        "npu0pe2",
        "npu0pe1-0",
        "npu0pe0-1x",
        "xnpu0pe0",
        "npu٠pe0",
        "warboy",
        "warboy(3)*1",
        "warboy*0",
    ]
    + ["warboy*65", "npu0pe0,npu0pe0-1", "npu0pe0\n", "npu" + "9" * 99 + "pe0"],
)
def test_other_names_are_refused(text):
    with pytest.raises(InvalidSessionOption):
        parse(text)


def test_the_argument_beats_the_environment(monkeypatch):
    for name in ("FURIOSA_DEVICES", "NPU_DEVNAME"):
        monkeypatch.delenv(name, raising=False)
    assert choose(None) is None
    monkeypatch.setenv("NPU_DEVNAME", "npu0pe0")
    assert choose(None)[:3] == ("npu0pe0", "NPU_DEVNAME", "warboy")
    monkeypatch.setenv("FURIOSA_DEVICES", "warboy(2)*1")
    assert choose(None)[:3] == ("warboy(2)*1", "FURIOSA_DEVICES", "warboy-2pe")
    assert choose("npu0pe1").text == "npu0pe1"
    monkeypatch.setenv("FURIOSA_DEVICES", "")
    assert choose(None).source == "NPU_DEVNAME"
