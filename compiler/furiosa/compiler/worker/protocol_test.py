"""Both encodings of the worker protocol, in pieces of any size, and how they are told apart."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from google.protobuf.proto import serialize_length_prefixed
from hypothesis import given, settings
from hypothesis import strategies as st

from furiosa.compiler.worker import worker_protocol_pb2
from furiosa.compiler.worker.protocol import Either, Json, Proto, Request, Response
from furiosa.compiler.worker.worker_protocol_pb2 import WorkRequest
from furiosa.enf.testing.generated import assert_generated


def test_generated_code_is_not_stale(tmp_path: Path) -> None:
    assert_generated(worker_protocol_pb2, tmp_path)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
requests = st.builds(Request, st.lists(texts, max_size=4), st.integers(0, 2**31 - 1), st.booleans(), texts)


def encoded(request: Request, protocol: str) -> bytes:
    """As Bazel writes it, fields of default value left out; with a file of the action, which is not looked at."""
    if protocol == "json":
        names = {"arguments": request.arguments, "requestId": request.id, "cancel": request.cancel}
        fields = {k: v for k, v in names.items() if v} | {"sandboxDir": request.sandbox, "verbosity": 10}
        return json.dumps(fields | {"inputs": [{"path": "a", "digest": "AA=="}]}).encode() + b"\n"
    message = WorkRequest(
        arguments=request.arguments,
        request_id=request.id,
        cancel=request.cancel,
        sandbox_dir=request.sandbox,
    )
    message.MergeFromString(b"\x12\x05\n\x01a\x12\x00\x28\x0a")  # inputs and verbosity
    out = io.BytesIO()
    serialize_length_prefixed(message, out)
    return out.getvalue()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.sampled_from(("json", "proto")), st.lists(requests, min_size=1, max_size=4), st.integers(1, 200))
def test_streams_in_pieces(protocol: str, sent: list[Request], size: int) -> None:
    stream = b"".join(encoded(r, protocol) for r in sent)
    encoding, got = Either(), []
    for at in range(0, len(stream), size):
        got += encoding.requests(stream[at : at + size])
    assert got == sent


@pytest.mark.parametrize(("encoding", "protocol"), [(Json(), "json"), (Proto(), "proto")])
def test_a_large_request_is_not_copied_with_each_piece(encoding: Json | Proto, protocol: str) -> None:
    """What came is added to, however many pieces a request with many files has: the cost is linear."""
    request = Request(["x" * 1_000_000], 5, False, "")
    stream = encoded(request, protocol)
    assert encoding.requests(stream[:1000]) == []
    kept = encoding.rest
    for at in range(1000, len(stream) - 1000, 1000):
        assert encoding.requests(stream[at : at + 1000]) == []
        assert encoding.rest is kept and len(kept) == at + 1000
    assert encoding.requests(stream[at + 1000 :]) == [request] and not encoding.rest


@pytest.mark.parametrize("protocol", ["json", "proto"])
def test_a_first_request_of_any_length(protocol: str) -> None:
    """123 bytes is the length whose varint looks like the beginning of JSON."""
    lengths = set()
    for n in range(300):
        request = Request(["x" * n], 0, False, "")
        stream = encoded(request, protocol)
        lengths.add(stream[0])
        assert Either().requests(stream) == [request]
    assert ord("{") in lengths


def test_an_empty_object_is_a_request() -> None:
    assert Either().requests(b"{}\n") == [Request([], 0, False, "")]


def test_responses() -> None:
    response = Response(7, 255, "ERROR: \U0001f50d\n", True)
    as_json, as_proto = Either(), Either()
    as_json.requests(b"{}\n")
    as_proto.requests(b"\x02\x18\x07")
    assert json.loads(as_json.response(response)) == {
        "exitCode": 255,
        "output": response.output,
        "requestId": 7,
        "wasCancelled": True,
    }
    data = as_proto.response(response)
    assert data[0] == len(data) - 1 and response.output.encode() in data
