"""Runs a compiler as build actions do: one process a call, or one worker for several calls."""

from __future__ import annotations

import io
import json
import os
import selectors
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from furiosa.enf.command import OTHER, CommandError

# how a program that Bazel has built finds its files, and its interpreter
KEPT = ("PATH", "RUNFILES_DIR", "RUNFILES_MANIFEST_FILE")
PATIENCE = 600.0  # seconds without an answer of a worker
MAX_RESPONSE = 1 << 24  # bytes


class Call(NamedTuple):
    """A compilation: the file of its arguments, the folder to start in, and what is around it."""

    name: str
    compiler: str
    arguments: Path
    folder: Path
    environment: Mapping[str, str]
    umask: int


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {name: os.path.abspath(v) if name.startswith("RUNFILES") else v for name, v in kept.items()}


def run(call: Call) -> None:
    """Runs it in a process of its own.

    Raises:
        CommandError: it does.
    """
    done = subprocess.run(
        [call.compiler, f"@{call.arguments}"],
        check=False,
        cwd=call.folder,
        env={**_environment(), **call.environment},
        umask=call.umask,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode:
        raise _failed(call.name, done.returncode, done.stdout.decode("utf-8", "replace"))


def run_in_worker(calls: list[Call], folder: Path, protocol: str) -> None:
    """Runs all calls side by side in one worker, each in its own folder.

    Args:
        calls: of one compiler.
        folder: where the worker starts.
        protocol: ``json`` or ``proto``.

    Raises:
        CommandError: one of them fails, or is not answered.
    """
    worker = subprocess.Popen(
        [calls[0].compiler, "--persistent_worker"],
        cwd=folder,
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    )
    try:
        for number, call in enumerate(calls, 1):
            worker.stdin.write(_request(call, number, folder, protocol))
        waiting = dict(enumerate(calls, 1))
        for number, status, output in _responses(worker, protocol):
            call = waiting.pop(number, None)
            if call is None:
                raise CommandError(OTHER, f"the worker answers request {number}, which nobody made")
            if status:
                raise _failed(call.name, status, output)
            if not waiting:
                return
        raise CommandError(
            OTHER, f"the worker does not answer: {', '.join(c.name for c in waiting.values())}"
        )
    except BrokenPipeError:
        raise CommandError(OTHER, "the worker has ended before all requests were made") from None
    finally:
        worker.kill()
        worker.wait()
        worker.stdin.close()
        worker.stdout.close()


def _failed(name: str, status: int, output: str) -> CommandError:
    return CommandError(
        status if 0 < status < 256 else OTHER,
        f"{name}: the compiler fails with exit code {status}: {output.strip()}",
    )


def _request(call: Call, number: int, folder: Path, protocol: str) -> bytes:
    # a request's folder is relative to the worker's, as in Bazel
    sandbox = str(call.folder.relative_to(folder))
    if protocol == "json":
        request = {"arguments": [f"@{call.arguments}"], "requestId": number, "sandboxDir": sandbox}
        return json.dumps(request).encode("ascii") + b"\n"
    from google.protobuf.proto import serialize_length_prefixed

    from furiosa.compiler.worker.worker_protocol_pb2 import WorkRequest

    message = WorkRequest(arguments=[f"@{call.arguments}"], request_id=number, sandbox_dir=sandbox)
    out = io.BytesIO()
    serialize_length_prefixed(message, out)
    return out.getvalue()


def _responses(worker: subprocess.Popen[bytes], protocol: str) -> Iterator[tuple[int, int, str]]:
    """(request, exit status, output) of each response, until the worker's output ends or nothing comes for too long."""
    received = b""
    deadline = time.monotonic() + PATIENCE
    with selectors.DefaultSelector() as events:
        events.register(worker.stdout, selectors.EVENT_READ)
        while len(received) <= MAX_RESPONSE and events.select(max(0.0, deadline - time.monotonic())):
            piece = os.read(worker.stdout.fileno(), 1 << 16)
            if not piece:
                return
            received += piece
            take = _json_responses if protocol == "json" else _proto_responses
            received, responses = take(received)
            yield from responses


def _json_responses(received: bytes) -> tuple[bytes, list[tuple[int, int, str]]]:
    *lines, rest = received.split(b"\n")
    found = [json.loads(line) for line in lines if line.strip()]
    return rest, [(r.get("requestId", 0), r.get("exitCode", 0), r.get("output", "")) for r in found]


def _proto_responses(received: bytes) -> tuple[bytes, list[tuple[int, int, str]]]:
    from google.protobuf.message import DecodeError
    from google.protobuf.proto import parse_length_prefixed

    from furiosa.compiler.worker.worker_protocol_pb2 import WorkResponse

    out, stream, whole = [], io.BytesIO(received), 0
    while True:
        try:
            message = parse_length_prefixed(WorkResponse, stream)
        except (DecodeError, EOFError, ValueError):  # not whole yet
            message = None
        if message is None:
            return received[whole:], out
        whole = stream.tell()
        out.append((message.request_id, message.exit_code, message.output))
