"""Bazel's worker protocol, in both its encodings: bytes of a stream to requests, and responses to bytes."""

from __future__ import annotations

import io
import json
import re
from typing import NamedTuple, Protocol

MAX_REQUEST = (
    1 << 28
)  # bytes; a request lists the files of the action, which a worker of ours does not look at
MAX_ID = (1 << 31) - 1


class ProtocolError(Exception):
    """The stream is not what Bazel sends; nothing after it can be understood."""


class Request(NamedTuple):
    """One command line to run, or the wish that the request with this id ends."""

    arguments: list[str]
    id: int
    cancel: bool
    sandbox: str  # the folder that paths are relative to; empty for the working directory


class Response(NamedTuple):
    """What became of a request: the exit status of its command and what it wrote."""

    id: int
    status: int
    output: str
    cancelled: bool = False


class Encoding(Protocol):
    """One of the two encodings; ``rest`` holds the bytes that came but are no whole request yet.

    Each byte is looked at once, however many pieces a request comes in.
    """

    rest: bytearray

    def requests(self, received: bytes) -> list[Request]:
        """The requests that ``received`` completes.

        Raises:
            ProtocolError: it is no request, or one of more than ``MAX_REQUEST`` bytes.
        """

    def response(self, response: Response) -> bytes:
        """A response as Bazel reads it."""


class Json:
    """One JSON object a line."""

    def __init__(self) -> None:
        self.rest = bytearray()

    def requests(self, received: bytes) -> list[Request]:
        first, *others = received.split(b"\n")
        self.rest += first
        lines = []
        for piece in others:
            lines.append(self.rest)
            self.rest = bytearray(piece)
        if any(len(line) > MAX_REQUEST for line in (*lines, self.rest)):
            raise ProtocolError(f"a request has more than {MAX_REQUEST} bytes")
        return [self._request(line) for line in lines if line.strip()]

    @staticmethod
    def _request(line: bytearray) -> Request:
        try:
            fields = json.loads(line)
            request = Request(
                fields.get("arguments", []),
                fields.get("requestId", 0),
                fields.get("cancel", False),
                fields.get("sandboxDir", ""),
            )
        except (ValueError, AttributeError, RecursionError) as e:
            raise ProtocolError(f"not a work request in JSON ({type(e).__name__})") from None
        kinds = (list, int, bool, str)
        if any(type(v) is not k for v, k in zip(request, kinds)) or not 0 <= request.id <= MAX_ID:
            raise ProtocolError("a work request in JSON has a field of another type")
        if any(type(a) is not str for a in request.arguments):
            raise ProtocolError("a work request in JSON has an argument that is no text")
        return request

    def response(self, response: Response) -> bytes:
        fields = {
            "exitCode": response.status,
            "output": response.output,
            "requestId": response.id,
            "wasCancelled": response.cancelled,
        }
        return json.dumps(fields).encode("ascii") + b"\n"


class Proto:
    """Protobuf messages, each after its length as a varint."""

    def __init__(self) -> None:
        self.rest = bytearray()

    def requests(self, received: bytes) -> list[Request]:
        from google.protobuf.message import DecodeError

        from furiosa.compiler.worker.worker_protocol_pb2 import WorkRequest

        self.rest += received
        data, at, out = self.rest, 0, []
        while (start := _varint_end(data, at)) is not None:
            size = sum((byte & 0x7F) << (7 * i) for i, byte in enumerate(data[at:start]))
            if size > MAX_REQUEST:
                raise ProtocolError(f"a request has {size} bytes, more than {MAX_REQUEST}")
            if start + size > len(data):
                break
            try:
                message = WorkRequest.FromString(bytes(data[start : start + size]))
            except DecodeError:
                raise ProtocolError("not a work request in protobuf") from None
            out.append(
                Request(list(message.arguments), message.request_id, message.cancel, message.sandbox_dir)
            )
            at = start + size
        del data[:at]
        return out

    def response(self, response: Response) -> bytes:
        from google.protobuf.proto import serialize_length_prefixed

        from furiosa.compiler.worker.worker_protocol_pb2 import WorkResponse

        message = WorkResponse(
            exit_code=response.status,
            output=response.output,
            request_id=response.id,
            was_cancelled=response.cancelled,
        )
        out = io.BytesIO()
        serialize_length_prefixed(message, out)
        return out.getvalue()


def _varint_end(data: bytearray, at: int) -> int | None:
    """Where the varint at ``at`` ends; None where it is not whole yet."""
    for end in range(at + 1, min(at + 10, len(data)) + 1):
        if data[end - 1] < 0x80:
            return end
    if len(data) - at >= 10:
        raise ProtocolError("the length of a request is no varint")
    return None


class Either:
    """The encoding that the first request shows: after ``{`` JSON goes on with a quote or ends; a message of 123 bytes, whose
    length is the same byte, goes on with the tag of a field, and no field that Bazel knows has the tag of those characters.
    """

    def __init__(self) -> None:
        self._encoding: Encoding | None = None
        self._first = b""

    def requests(self, received: bytes) -> list[Request]:
        if self._encoding is None:
            self._first = received = self._first + received
            if len(received) < 2:
                return []
            self._encoding = Json() if re.match(rb'\{\s*["}]', received) else Proto()
        return self._encoding.requests(received)

    @property
    def is_waiting(self) -> bool:
        """Whether bytes came that are no whole request yet."""
        return bool(self._encoding.rest if self._encoding else self._first)

    def response(self, response: Response) -> bytes:
        assert self._encoding is not None, "there was no request"
        return self._encoding.response(response)
