"""The one door from the format and the compiler to the runtime: whether a program's host clusters can run.

The runtime loads and runs each in another process; it is imported only for a program that has any.
"""

from __future__ import annotations

import argparse
import importlib.util
from contextlib import suppress
from typing import TYPE_CHECKING

from furiosa.enf.command import say

if TYPE_CHECKING:
    from furiosa.enf.reader import Enf

_OPTION = "--no-host-trial"


def add_option(p: argparse.ArgumentParser) -> None:
    """``--no-host-trial``, of commands that try host clusters."""
    p.add_argument(
        _OPTION,
        dest="host_trial",
        action="store_false",
        help="do not load and run once, in another process, what runs on the host",
    )


def check(enf: Enf, name: str) -> None:
    """Tries a program's host clusters and warns of what did not go well; where the runtime is not installed it does nothing.

    Args:
        enf: the program.
        name: what to call it.

    Raises:
        Exception: with ``exit_code`` 5: a cluster cannot run.
    """
    if not any(step.HasField("host_call") for step in enf.plan.steps) or not _is_installed():
        return
    from furiosa.runtime.host.trial import HostClusterRefused, try_host_clusters

    try:
        for sentence in try_host_clusters(enf, name=name):
            say(f"WARNING: {name}: {sentence}")
    except HostClusterRefused as e:
        e.message = (
            f"{name}: {e.message}; {_OPTION} (of npu_model: host_trial = False) does without the trial"
        )
        raise


def warm_up() -> None:
    """Imports what a trial needs, so that a copy of this process has it; what is not installed is left out."""
    if _is_installed():
        for module in ("trial", "onnx", "tflite"):
            with suppress(ModuleNotFoundError):
                importlib.import_module(f"furiosa.runtime.host.{module}")


def _is_installed() -> bool:
    try:
        return importlib.util.find_spec("furiosa.runtime.host.trial") is not None
    except ModuleNotFoundError:  # not even its package
        return False
