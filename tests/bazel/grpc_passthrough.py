"""A gRPC pass-through that counts calls, and that lets Bazel 7 talk to a buildbox-casd that asks for the API's version 2.1."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc

_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
# ServerCapabilities.low_api_version {major: 2 minor: 0}: appended to a message, it takes the place of what is there.
_LOW_API_VERSION = b"\x22\x04\x08\x02\x10\x00"
_UPLOADS = ("/Write", "/BatchUpdateBlobs", "/UpdateActionResult")
# What belongs to one connection and is not handed on.
_OWN_METADATA = ("user-agent", "grpc-")


class Passthrough(grpc.GenericRpcHandler):
    """Hands every call on to `backend` (host:port), and counts them by method in `calls`."""

    def __init__(self, backend: str) -> None:
        """Starts to listen on `port`, a free one of loopback."""
        self.calls: Counter[str] = Counter()
        self._sent: Counter[str] = Counter()
        self._channel = grpc.insecure_channel(backend, options=_OPTIONS)
        self._server = grpc.server(ThreadPoolExecutor(200), handlers=[self], options=_OPTIONS)
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def uploads(self) -> int:
        """How many uploads of blobs and action results there have been until now."""
        return sum(count for name, count in self.calls.items() if name.endswith(_UPLOADS))

    def uploaded_bytes(self) -> int:
        """How many bytes their messages had."""
        return sum(size for name, size in self._sent.items() if name.endswith(_UPLOADS))

    def stop(self) -> None:
        """Ends at once, with all calls."""
        self._server.stop(None).wait()
        self._channel.close()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """Takes messages as bytes, for any method."""
        method = handler_call_details.method
        self.calls[method] += 1
        forward = self._channel.stream_stream(method, _as_it_is, _as_it_is)

        def handle(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            metadata = [m for m in context.invocation_metadata() if not m[0].startswith(_OWN_METADATA)]
            call = forward(self._counted(method, requests), metadata=metadata)
            context.add_callback(call.cancel)
            try:
                for response in call:
                    yield response + (_LOW_API_VERSION if method.endswith("/GetCapabilities") else b"")
            except grpc.RpcError as error:
                context.set_trailing_metadata(tuple(error.trailing_metadata() or ()))
                context.abort(error.code(), error.details())

        return grpc.stream_stream_rpc_method_handler(handle, _as_it_is, _as_it_is)

    def _counted(self, method: str, requests: Iterator[bytes]) -> Iterator[bytes]:
        for request in requests:
            self._sent[method] += len(request)
            yield request


def _as_it_is(message: bytes) -> bytes:
    return message
