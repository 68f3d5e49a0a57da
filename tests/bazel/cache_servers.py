"""Remote caches for tests: nginx as Bazel's HTTP cache, buildbox-casd as a gRPC one; on loopback, on a free port."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest

_CONFIGURATION = Path(__file__).resolve().with_name("nginx.conf")


def installed(command: str, *folders: str) -> str:
    """The path of a server's command, on PATH or in further folders; skips the test where it is not installed."""
    search = [os.environ["PATH"], "/usr/local/bin", "/usr/local/sbin", "/usr/sbin", *folders]
    path = shutil.which(command, path=":".join(search))
    return path or pytest.skip(
        f"{command}, a server of others, is not installed; .ci/install_extras does that"
    )


def free_port() -> int:
    """A port of loopback that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port: int) -> Callable[[], bool]:
    """Whether something listens on a port of loopback by now."""

    def ask() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return ask


class Server:
    """A process that serves; a context manager that stops it."""

    def __init__(self, folder: Path, command: list[str], ready: Callable[[], bool], **options: Any) -> None:
        """Starts `command` in `folder` and waits until it is ready; its output goes to `server.log`.

        `options` are Popen's.
        """
        self.folder = folder
        with open(folder / "server.log", "wb") as log:
            self._process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, **options)
        for _ in range(300):
            if self._process.poll() is not None:
                break
            if ready():
                return
            time.sleep(0.1)
        self.stop()
        pytest.fail(f"{command[0]} did not start: {(folder / 'server.log').read_text(errors='replace')}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends the process; again, it does nothing."""
        self._process.terminate()
        self._process.wait(timeout=60)


class HttpCache(Server):
    """nginx, with an empty cache below `folder`."""

    def __init__(self, folder: Path) -> None:
        nginx, port = installed("nginx"), free_port()
        (folder / "cache").mkdir(parents=True)
        user = "user root;\n" if os.getuid() == 0 else ""
        text = user + _CONFIGURATION.read_text().replace("PORT", str(port))
        (folder / "nginx.conf").write_text(text)
        super().__init__(folder, [nginx, "-p", str(folder), "-c", str(folder / "nginx.conf")], listens(port))
        self.url = f"http://127.0.0.1:{port}"

    def uploads(self) -> int:
        """How many blobs and action results have been uploaded until now."""
        return len([line for line in self.requests() if line[0] == "PUT" and line[2].startswith("2")])

    def uploaded_bytes(self) -> int:
        """How many bytes they had."""
        return sum(int(line[3]) for line in self.requests() if line[0] == "PUT")

    def requests(self) -> list[list[str]]:
        """Method, path, status, bytes received and bytes sent of every request until now."""
        return [line.split() for line in (self.folder / "access.log").read_text().splitlines()]

    def blob(self, digest: str) -> Path:
        """The file that holds what has an SHA-256."""
        return self.folder / "cache/cas" / digest


class GrpcCache(Server):
    """buildbox-casd, with an empty cache below `folder`, behind a pass-through that counts."""

    def __init__(self, folder: Path, *options: str) -> None:
        # grpc in here: what needs no gRPC server needs no gRPC either
        from grpc_passthrough import Passthrough

        casd, port = installed("buildbox-casd"), free_port()
        folder.mkdir(parents=True)
        quota = ("--quota-high=8G", "--quota-low=4G")
        command = [casd, f"--bind=127.0.0.1:{port}", *quota, *options, str(folder / "data")]
        super().__init__(folder, command, listens(port))
        self._passthrough = Passthrough(f"127.0.0.1:{port}")
        self.url = f"grpc://127.0.0.1:{self._passthrough.port}"

    def uploads(self) -> int:
        """How many uploads of blobs and action results there have been until now."""
        return self._passthrough.uploads()

    def uploaded_bytes(self) -> int:
        """How many bytes they had."""
        return self._passthrough.uploaded_bytes()

    def blob(self, digest: str) -> Path:
        """The file that holds what has an SHA-256."""
        return self.folder / "data/cas/objects" / digest[:2] / digest[2:]

    def stop(self) -> None:
        if hasattr(self, "_passthrough"):
            self._passthrough.stop()
        super().stop()
