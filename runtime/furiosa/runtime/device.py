"""Names of devices.

The names are the vendor's; what stands behind each of them here is the NPU simulator, so any card number exists
and none is ever busy.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from furiosa.runtime.errors import InvalidSessionOption

DEFAULT_DEVICE = "npu0pe0-1"
MAX_DEVICES = 64  # this project's bound: each is a simulator with a memory of its own

# Card and PEs (SDK 0.6), the same in the later form, and a number of devices of a kind.
_FORMS = (
    re.compile(r"npu(?P<card>\d{1,3})pe(?P<pe>0-1|[01])", re.ASCII),
    re.compile(r"npu:(?P<card>\d{1,3}):(?P<pe>0-1|[01])", re.ASCII),
    re.compile(r"warboy(?:\((?P<pes>[12])\))?\*(?P<count>\d{1,3})", re.ASCII),
)


class Device(NamedTuple):
    """One kind of device: ``text`` as given by ``source``, the target NPU it stands for, how many there are."""

    text: str
    source: str
    target: str
    count: int


def choose(device: str | None) -> Device | None:
    """The device of a session: the argument, else FURIOSA_DEVICES, else NPU_DEVNAME, else None for no wish.

    Raises:
        InvalidSessionOption: a name of no known form, or a list over several kinds of device.
    """
    for text, source in (
        (device, "the argument device"),
        (os.environ.get("FURIOSA_DEVICES"), "FURIOSA_DEVICES"),
        (os.environ.get("NPU_DEVNAME"), "NPU_DEVNAME"),
    ):
        if text is not None and (text or source == "the argument device"):
            return parse(text, source)
    return None


def parse(text: str, source: str = "the argument device") -> Device:
    """A device from its name: npu0pe0, npu0pe0-1, npu:0:0-1, warboy*1, warboy(2)*1, or a list with commas.

    Raises:
        InvalidSessionOption: a name of no known form, or a list over several kinds of device.
    """
    targets, count = set(), 0
    for name in text.split(","):
        match = next((m for m in (form.fullmatch(name.strip(" ")) for form in _FORMS) if m), None)
        if match is None:
            raise InvalidSessionOption(
                f"{source} '{text}' names no device: use npu0pe0 (one PE), npu0pe0-1 (both PEs fused), "
                "warboy*1, warboy(2)*1, or a list of one kind with commas"
            )
        groups = match.groupdict()
        fused = groups.get("pe") == "0-1" or groups.get("pes") == "2"
        targets.add("warboy-2pe" if fused else "warboy")
        count += int(groups.get("count") or 1) if "count" in groups else 1
    if len(targets) > 1:
        raise InvalidSessionOption(
            f"{source} '{text}' mixes one PE with fused PEs; a session runs on one kind of device"
        )
    if not 1 <= count <= MAX_DEVICES:
        raise InvalidSessionOption(
            f"{source} '{text}' asks for {count} devices; 1 to {MAX_DEVICES} are possible"
        )
    return Device(text, source, targets.pop(), count)
