"""Committed ``*_pb2.py`` files are what protoc makes of the ``.proto`` files beside them."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest


def assert_generated(module: ModuleType, folder: Path) -> None:
    """The module is generated from its file, but for the versions of generator and runtime, which its first lines name.

    ``folder`` is an empty one to work in.  Skips the test where grpcio-tools is not installed.
    """
    protoc = pytest.importorskip("grpc_tools.protoc", reason="needs protoc: grpcio-tools, of the extra test")
    committed = Path(module.__file__)
    name = module.DESCRIPTOR.name
    proto = committed.with_name(Path(name).name)
    assert proto.exists(), f"{proto.name} is not there, under Bazel make it data of this test"
    copy = folder / name
    copy.parent.mkdir(parents=True)
    copy.write_bytes(proto.read_bytes())
    assert protoc.main(["protoc", f"-I{folder}", f"--python_out={folder}", str(copy)]) == 0
    fresh = folder / name.replace(".proto", "_pb2.py")
    assert _without_versions(committed.read_text("utf-8")) == _without_versions(fresh.read_text("utf-8"))


def _without_versions(code: str) -> str:
    code = re.sub(r"# Protobuf Python Version: .*", "", code)
    return re.sub(r"(?<=ValidateProtobufRuntimeVersion\()[^)]*(?=\))", "", code)
