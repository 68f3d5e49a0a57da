"""BuildGrid with its PostgreSQL and buildbox workers, for tests: a scheduler, storage, action cache and executors on loopback."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from cache_servers import Server, free_port, installed, listens

_CONFIGURATION = Path(__file__).resolve().with_name("buildgrid.yml")


def _environment() -> dict[str, str]:
    """This process's environment without what says where its Python finds modules: BuildGrid has a Python of its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


class PostgreSql(Server):
    """An empty database server that listens on a socket in a folder of its own, which nobody else may enter."""

    def __init__(self) -> None:
        # Debian keeps the server's commands out of PATH.
        folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda f: f.parent.name, reverse=True)
        initdb, postgres, pg_isready = (
            installed(command, *map(str, folders)) for command in ("initdb", "postgres", "pg_isready")
        )
        # A socket's path must be short, and the server refuses root; so not in the test's own folder.
        self._temporary = tempfile.TemporaryDirectory(prefix="postgresql.")
        folder = Path(self._temporary.name)
        user = {}
        if os.getuid() == 0:
            user = {"user": 65534, "group": 65534, "extra_groups": []}
            os.chown(folder, 65534, 65534)
        data = folder / "data"
        initialise = [initdb, "-D", data, "-A", "trust", "-U", "postgres", "--no-sync", "--locale=C.UTF-8"]
        done = subprocess.run(
            initialise,
            cwd="/",
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **user,
        )
        assert done.returncode == 0, done.stdout
        socket = f"unix_socket_directories={folder}"
        command = [postgres, "-D", str(data), "-c", "listen_addresses=", "-c", socket, "-c", "fsync=off"]
        self.url = f"postgresql://postgres@/postgres?host={folder}"
        ready = [pg_isready, "-q", "-h", str(folder)]
        super().__init__(folder, command, lambda: subprocess.run(ready, check=False).returncode == 0, **user)

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._temporary.cleanup()


class BuildGrid:
    """BuildGrid with workers that have the given platform properties; a context manager that stops all its processes.

    Every worker runs one action at a time.
    """

    def __init__(self, folder: Path, workers: Mapping[str, Sequence[str]] = {}) -> None:
        """`workers`: the properties (`NAME=VALUE`) of each worker, by the worker's name; none makes it a cache only."""
        from grpc_passthrough import Passthrough

        bgd = installed("bgd")
        programs = [
            installed(name) for name in ("buildbox-casd", "buildbox-worker", "buildbox-run-hosttools")
        ]
        self.folder = folder
        with ExitStack() as servers:
            database = servers.enter_context(PostgreSql())
            migrate = [bgd, "migrate", "apply", database.url]
            done = subprocess.run(migrate, check=False, capture_output=True, text=True, env=_environment())
            assert done.returncode == 0, done.stderr
            self._port = free_port()
            servers.enter_context(self._server(bgd, database.url))
            if workers:
                self._start_workers(servers, workers, *programs)
            self._passthrough = Passthrough(f"127.0.0.1:{self._port}")
            servers.callback(self._passthrough.stop)
            self._servers = servers.pop_all()
        self.url = f"grpc://127.0.0.1:{self._passthrough.port}"

    def _server(self, bgd: str, database: str) -> Server:
        folder = self.folder / "server"
        folder.mkdir(parents=True)
        text = _CONFIGURATION.read_text()
        for name, value in (("PORT", self._port), ("FOLDER", folder), ("DATABASE", database)):
            text = text.replace(name, str(value))
        (folder / "buildgrid.yml").write_text(text)
        command = [bgd, "server", "start", "-v", str(folder / "buildgrid.yml")]
        return Server(folder, command, listens(self._port), env=_environment())

    def _start_workers(
        self, servers: ExitStack, workers: Mapping[str, Sequence[str]], casd: str, worker: str, runner: str
    ) -> None:
        """Starts the workers, and the local storage which they share."""
        folder, port, remote = self.folder / "casd", free_port(), f"http://127.0.0.1:{self._port}"
        folder.mkdir()
        quota = ("--quota-high=8G", "--quota-low=4G")
        storage = [casd, f"--cas-remote={remote}", f"--bind=127.0.0.1:{port}", *quota, str(folder / "data")]
        servers.enter_context(Server(folder, storage, listens(port)))
        for name, properties in workers.items():
            (self.folder / name).mkdir()
            platform = [f"--platform={p}" for p in properties]
            command = [
                *(worker, f"--bots-remote={remote}", f"--cas-remote=http://127.0.0.1:{port}"),
                *(f"--buildbox-run={runner}", "--runner-arg=--staging-mode=copy-or-link", *platform, name),
            ]
            servers.enter_context(Server(self.folder / name, command, lambda: True))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends all processes, the last one started first."""
        self._servers.close()

    def uploads(self) -> int:
        """How many uploads of blobs and action results there have been until now."""
        return self._passthrough.uploads()

    def blob(self, digest: str) -> Path:
        """The file that holds what has an SHA-256."""
        return self.folder / "server/storage/cas/objects" / digest[:2] / digest[2:]

    def actions(self, worker: str) -> int:
        """How many actions a worker has run until now."""
        return (
            (self.folder / worker / "server.log").read_text(errors="replace").count("Runner exited with code")
        )
