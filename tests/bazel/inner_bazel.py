"""Runs Bazel inside a test: on a copy of the checkout, with an output base, a home and an environment of its own."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import pytest

# What the checkout's Bazel targets are made of; neither .git nor what other tools leave behind.
_ROOMS = (
    "BUILD.bazel",
    "MODULE.bazel",
    "compiler",
    "enf",
    "examples",
    "furiosa_rules",
    "runtime",
    "tests/bazel",
    "tools",
)


def bazel_command() -> str:
    """The path of an installed Bazel 7 or newer; skips the test where there is none."""
    for name in ("bazel", "bazelisk"):
        command = shutil.which(name)
        if not command:
            continue
        version = subprocess.run([command, "--version"], check=False, capture_output=True, text=True, cwd="/")
        words = version.stdout.split()
        if version.returncode == 0 and len(words) > 1 and int(words[1].split(".")[0]) >= 7:
            return command
    pytest.skip("no Bazel 7 or newer on PATH to run inside the test")


def scratch() -> Path:
    """The folder for all that a test writes."""
    if "TEST_TMPDIR" not in os.environ:
        pytest.skip(
            "writes gigabytes, into the folder that Bazel gives it and clears: bazel test //tests/bazel/..."
        )
    return Path(os.environ["TEST_TMPDIR"])


def copy_checkout(destination: Path, source: Path | None = None) -> Path:
    """Copies `source`, by default the checkout that this test was built from, to `destination`, and returns that."""
    root = source or Path(__file__).resolve().parents[2]
    if not (root / "MODULE.bazel").is_file():
        pytest.skip(f"the checkout is not reachable from the test ({root} has no MODULE.bazel)")
    ignore = shutil.ignore_patterns("bazel-*", "__pycache__", "node_modules", ".*_cache")
    destination.mkdir(parents=True)
    for room in _ROOMS:
        if (root / room).is_dir():
            shutil.copytree(root / room, destination / room, ignore=ignore)
        else:
            shutil.copy(root / room, destination / room)
    return destination


class InnerBazel:
    """Bazel in one workspace with one output base; a context manager that stops the server."""

    def __init__(
        self,
        workspace: Path,
        name: str,
        flags: Sequence[str] = (),
        environment: Mapping[str, str] = {},
        user: int | None = None,
        folder: Path | None = None,
    ):
        """`name` names the output base, home and user; `flags` go with every command, `environment` to the client.

        All of them lie in `folder`, by default the test's own. With `user`, a user ID, it and the workspace are given to
        that user, as whom Bazel then runs; it may read everything.
        """
        self.workspace = workspace
        self.folder = folder = folder or scratch()
        self.output_base = folder / f"output_base_{name}"
        home = folder / f"home_{name}"
        home.mkdir()
        self._startup = [
            *(_as_user(user, folder, workspace) if user is not None else ()),
            bazel_command(),
            f"--output_user_root={folder / 'output_user_root'}",
            f"--output_base={self.output_base}",
            "--max_idle_secs=60",
        ]
        self._flags = [
            "--color=no",
            "--curses=no",
            "--noshow_progress",
            # Wheels are fetched as the user's own pip is set up to, wherever the home of the client is.
            f"--repo_env=HOME={os.environ.get('HOME') or pwd.getpwuid(os.getuid()).pw_dir}",
            *flags,
        ]
        # The proxy, pip's index and the like; their names come from the BUILD file.
        fetching = {
            v: os.environ[v] for v in os.environ.get("FETCH_VARIABLES", "").split() if v in os.environ
        }
        self._environment = {
            **fetching,
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "USER": name,
            **environment,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client("shutdown")
        # Bazel write-protects its outputs, which would keep the outer Bazel from cleaning up.
        subprocess.run(["chmod", "-R", "u+w", self.output_base], check=False)
        shutil.rmtree(self.output_base, ignore_errors=True)

    def _client(self, *arguments: str) -> subprocess.CompletedProcess:
        command = [*self._startup, *arguments]
        return subprocess.run(
            command, cwd=self.workspace, env=self._environment, check=False, capture_output=True, text=True
        )

    def attempt(self, command: str, *arguments: str) -> subprocess.CompletedProcess:
        """Runs a Bazel command and returns how it ended."""
        return self._client(command, *self._flags, *arguments)

    def run(self, command: str, *arguments: str) -> str:
        """Runs a Bazel command that must succeed, and returns its standard output."""
        done = self.attempt(command, *arguments)
        if done.returncode:
            pytest.fail(
                f"bazel {command} {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done.stdout

    def outputs(self, expression: str, *arguments: str) -> dict[str, Path]:
        """The default outputs of a query expression's targets, by file name."""
        execution_root = Path(self.run("info", "execution_root").strip())
        lines = self.run("cquery", "--output=files", *arguments, expression).splitlines()
        return {Path(line).name: execution_root / line for line in lines}


def _as_user(user: int, *folders: Path) -> list[str]:
    """Gives folders to a user; the words before a command that run it as that user. Skips the test without root."""
    if os.getuid() or not shutil.which("setpriv"):
        pytest.skip("only root, with the program setpriv, can run Bazel as another user")
    for folder in folders:
        subprocess.run(["chown", "-R", f"{user}:{user}", folder], check=True)
    # The interpreter and the settings of pip may be in a home that only its owner enters.
    reading = (
        "--inh-caps=+dac_read_search",
        "--ambient-caps=+dac_read_search",
        "--securebits=+no_setuid_fixup",
    )
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *reading]


def executions(log: Path, mnemonic: str | None = None) -> list[dict]:
    """The entries of one mnemonic, or all, in an `--execution_log_json_file`: JSON objects, one after the other."""
    text, decoder, entries, position = log.read_text(encoding="utf-8"), json.JSONDecoder(), [], 0
    while position < len(text):
        entry, position = decoder.raw_decode(text, position)
        entries.append(entry)
        while position < len(text) and text[position].isspace():
            position += 1
    return [entry for entry in entries if mnemonic in (None, entry.get("mnemonic"))]
