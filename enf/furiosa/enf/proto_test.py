"""enf_pb2.py, which is committed, is what protoc makes of enf.proto."""

from __future__ import annotations

from furiosa.enf import enf_pb2
from furiosa.enf.testing.generated import assert_generated


def test_generated_code_is_not_stale(tmp_path):
    assert_generated(enf_pb2, tmp_path)


def test_every_section_that_is_a_message_has_one():
    names = set(enf_pb2.DESCRIPTOR.message_types_by_name)
    assert {"Metadata", "Interface", "Plan", "MemoryPlan", "DebugMap"} <= names
