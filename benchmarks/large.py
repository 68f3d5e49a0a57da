"""Prints what ResNet50 compiles and uploads anew after changes of the compiler's code generation, and of the batch size.

    python benchmarks/large.py [--folder FOLDER]

Needs `bazel`, nginx and buildbox-casd on PATH, numpy, onnx, pytest and grpcio.  Edits a copy of the checkout: each change comes on top of
the ones before it.  docs/scale.md holds the results.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from scale import MODULE, ROOT, TARGET, Bazel

sys.path.append(str(ROOT / "enf"))

from cache_servers import GrpcCache, HttpCache
from inner_bazel import copy_checkout, executions

from furiosa.enf.container import read_table


class Edit(NamedTuple):
    """A change of one file of the compiler: a regular expression that matches once, and what takes the match's place."""

    what: str
    file: str
    pattern: str
    replacement: str


EDITS = (
    Edit("code that nothing calls", "lir/linear.py", r"\Z", "\n\ndef _unused() -> int:\n    return 1\n"),
    Edit("loads at most 1 command ahead", "lir/prefetch.py", r"(?m)^WINDOW = \d+", "WINDOW = 1"),
    Edit(
        "other SRAM addresses",
        "lir/allocate.py",
        r"key=lambda x: \(-x\.buffer\.size, x\.first",
        "key=lambda x: (-x.buffer.size, -x.first",
    ),
    Edit(
        "constants at twice the alignment",
        "gir/constants.py",
        r"-\(-self\.buffer\.size // ALIGNMENT\) \* ALIGNMENT",
        "-(-self.buffer.size // (2 * ALIGNMENT)) * (2 * ALIGNMENT)",
    ),
)


def apply(edit: Edit, checkout: Path) -> None:
    """Edits a file of a checkout.

    Raises:
        SystemExit: the file is not what the edit was written for.
    """
    path = checkout / "compiler/furiosa/compiler" / edit.file
    text, count = re.subn(edit.pattern, edit.replacement, path.read_text() if path.exists() else "")
    if count != 1:
        raise SystemExit(
            f"'{edit.what}': {edit.pattern} matches {count} times in {path}; the compiler has changed, adapt EDITS in {__file__}"
        )
    path.write_text(text)


def write_workspace(folder: Path, checkout: Path, model: Path) -> None:
    """A repository with one target."""
    folder.mkdir()
    (folder / "MODULE.bazel").write_text(MODULE.format(root=checkout))
    shutil.copy(ROOT / ".bazelrc", folder)
    shutil.copy(model, folder / "m00.onnx")
    target = TARGET.format(model=0, target_npu="warboy-2pe", batch_size=1).replace("//models:", "")
    load = 'load("@furiosa_rules//furiosa_rules:defs.bzl", "npu_model")\n'
    (folder / "BUILD.bazel").write_text(load + target)


def sections(enf: Path) -> dict[str, int]:
    """Sizes of an ENF's sections, by the SHA-256 of their content."""
    data = enf.read_bytes()
    found = read_table(memoryview(data))
    return {hashlib.sha256(data[s.offset : s.offset + s.size]).hexdigest(): s.size for s in found}


def build(bazel: Bazel, server: HttpCache | GrpcCache, what: str, before: dict[str, int]) -> dict[str, int]:
    """Builds with a remote cache, and prints a row; the sections of the ENF."""
    uploaded, log = server.uploaded_bytes(), bazel.workspace / "execution_log.json"
    flags = (
        f"--remote_cache={server.url}",
        "--remote_download_outputs=all",
        f"--execution_log_json_file={log}",
    )
    seconds, _ = bazel.build("//:m00_enf", *flags)
    uploaded = server.uploaded_bytes() - uploaded
    ran = [f"{e['mnemonic']} {e['metrics']['executionWallTime']}" for e in executions(log)]
    after = sections(bazel.workspace / "bazel-bin/m00.enf")
    new = sum(size for digest, size in after.items() if digest not in before)
    print(f"| {what} | {seconds:.2f} | {', '.join(ran)} | {uploaded:,} | {new:,} |", flush=True)
    return after


def measure(folder: Path, kind: type[HttpCache | GrpcCache], model: Path) -> None:
    """Prints the table of one kind of cache."""
    folder.mkdir()
    checkout, workspace = copy_checkout(folder / "checkout"), folder / "workspace"
    write_workspace(workspace, checkout, model)
    bazel = Bazel(folder, workspace)
    print(
        f"\n{kind.__name__}\n\n| change | build, s | ran | bytes uploaded | bytes of the ENF's new sections |"
    )
    print("|---|---|---|---|---|")
    with kind(folder / "cache") as server:
        try:
            before = build(bazel, server, "everything anew", {})
            for edit in EDITS:
                apply(edit, checkout)
                before = build(bazel, server, edit.what, before)
            file = workspace / "BUILD.bazel"
            file.write_text(file.read_text().replace("batch_size = 1", "batch_size = 2"))
            build(bazel, server, "batch size 2", before)
        finally:
            bazel("shutdown")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="where everything is written, a new folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = (options.folder or Path(temporary) / "large").absolute()
        folder.mkdir()
        model = folder / "resnet50.onnx"
        generate = [sys.executable, "-m", "generator", "--model", "resnet50", "--precision", "int8"]
        subprocess.run([*generate, "--output", model], check=True, cwd=ROOT / "examples/models")
        for kind in (HttpCache, GrpcCache):
            measure(folder / kind.__name__, kind, model)


if __name__ == "__main__":
    main()
