"""enf_pb2.py, which is committed, is what protoc makes of enf.proto."""

from __future__ import annotations

import os
import re

import pytest

from furiosa.enf import enf_pb2

HERE = os.path.dirname(os.path.abspath(__file__))


def test_generated_code_is_not_stale(tmp_path):
    """But for the versions of the generator and of the runtime, which its first lines name."""
    protoc = pytest.importorskip("grpc_tools.protoc", reason="grpcio-tools is not installed")
    proto = os.path.join(HERE, "enf.proto")
    assert os.path.exists(proto), "enf.proto is not there, under Bazel make it data of this test"
    (tmp_path / "furiosa" / "enf").mkdir(parents=True)
    copy = tmp_path / "furiosa" / "enf" / "enf.proto"
    with open(proto, "rb") as f:
        copy.write_bytes(f.read())
    assert protoc.main(["protoc", f"-I{tmp_path}", f"--python_out={tmp_path}", str(copy)]) == 0
    fresh = (tmp_path / "furiosa" / "enf" / "enf_pb2.py").read_text(encoding="utf-8")
    with open(enf_pb2.__file__, encoding="utf-8") as f:
        committed = f.read()
    assert _without_versions(committed) == _without_versions(fresh)


def _without_versions(code: str) -> str:
    code = re.sub(r"# Protobuf Python Version: .*", "", code)
    return re.sub(r"(?<=ValidateProtobufRuntimeVersion\()[^)]*(?=\))", "", code)


def test_every_section_that_is_a_message_has_one():
    names = set(enf_pb2.DESCRIPTOR.message_types_by_name)
    assert {"Metadata", "Interface", "Plan", "MemoryPlan", "DebugMap"} <= names
