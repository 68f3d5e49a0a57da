"""The command lines: exit codes, sentences, and files left behind."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from furiosa.enf import cli as enf_cli
from furiosa.runtime.bench import cli as bench_cli
from furiosa.runtime.cli import bundle_main, bundler_main, run_main
from furiosa.runtime.testing import own_path
from furiosa.runtime.testing.enf_files import table_enf

X = np.arange(64, dtype=np.int8).reshape(1, 1, 1, 64)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder with a.enf, b.enf and x.npy, and in it the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NPU_DEVNAME", raising=False)
    monkeypatch.delenv("FURIOSA_DEVICES", raising=False)
    (tmp_path / "a.enf").write_bytes(table_enf())
    (tmp_path / "b.enf").write_bytes(table_enf(elements=128))
    np.save("x.npy", X)
    return tmp_path


@pytest.fixture
def packed():
    assert bundle_main(["pack", "-o", "v.tar", "--model", "a=a.enf", "--model", "b=b.enf"]) == 0


def test_the_bundler_takes_arguments_from_a_file(folder):
    os.mkdir("tree")  # Bazel makes it
    arguments = [
        "pack",
        "--output",
        "v.tar",
        "--tree",
        "tree",
        "--manifest-json",
        "m.json",
        "--manifest-binpb",
        "m.binpb",
    ]
    (folder / "params").write_text("\n".join([*arguments, "--model", "a=a.enf", "--model", "b=b.enf"]) + "\n")
    assert bundler_main(["@params"]) == 0
    assert sorted(os.listdir("tree")) == ["manifest.binpb", "manifest.json", "models"]
    for name in ("json", "binpb"):
        assert (folder / f"m.{name}").read_bytes() == (folder / "tree" / f"manifest.{name}").read_bytes()
    (folder / "params").write_text("verify\nv.tar\n--stamp\nok\n")
    assert bundler_main(["@params"]) == 0 and (folder / "ok").read_bytes() == b""


def test_list(packed, capsys):
    assert bundle_main(["list", "v.tar"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == [
        "a",
        "warboy",
        "1",
        "4352",
        "75.0%",
        "1.5",
        "us",
        "int8[1,",
        "1,",
        "1,",
        "64]",
    ]
    assert bundle_main(["list", "v.tar", "--json"]) == 0
    assert '"sha256": "' in capsys.readouterr().out


def test_unpack(packed, folder, capsys):
    assert bundle_main(["unpack", "v.tar", "-o", "out"]) == 0
    assert (folder / "out/models/b.enf").read_bytes() == (folder / "b.enf").read_bytes()
    assert bundle_main(["unpack", "v.tar", "-o", "out"]) == 2
    assert capsys.readouterr().err == "ERROR: out: it is not empty: 'manifest.binpb' is in it\n"


# commands with the option that names an output, of each option one
WRITING = [
    "bundle pack --model a=a.enf -o",
    "bundle pack -o w.tar --model a=a.enf --manifest-json",
    "bundle pack -o w.tar --model a=a.enf --manifest-binpb",
    "bundle verify v.tar --stamp",
    "bundle layer v.tar -o",
    "bundle run v.tar --model a -i x.npy -o",
    "run a.enf -i x.npy -o",
    "bench a.enf -n 2 -o",
    "bench a.enf -n 2 --trace-output",
    "enf verify a.enf --stamp",
]


PROGRAMS = {"bundle": bundle_main, "run": run_main, "bench": bench_cli.main, "enf": enf_cli.main}


def furiosa(command: str, output: str) -> int:
    """Runs a command line with one more argument, and returns its exit status."""
    program, *arguments = command.split()
    return PROGRAMS[program]([*arguments, output])


@pytest.mark.parametrize("command", WRITING)
def test_devices_and_links_stay(packed, folder, command):
    device = os.stat("/dev/null").st_rdev
    assert furiosa(command, "/dev/null") == 0
    assert os.stat("/dev/null").st_rdev == device
    os.mkdir("elsewhere")
    os.symlink("elsewhere/file", "link")
    assert furiosa(command, "link") == 0
    assert os.readlink("link") == "elsewhere/file" and os.listdir("elsewhere") == ["file"]
    assert not [name for name in os.listdir() if name.startswith(".furiosa")]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full, which is always full, is Linux's")
@pytest.mark.parametrize("command", [c for c in WRITING if "bundle verify" not in c])  # whose stamp is empty
def test_a_full_disk_is_named(packed, capsys, command):
    assert furiosa(command, "/dev/full") == 2
    error = capsys.readouterr().err
    assert error.startswith("ERROR: ") and "/dev/full: No space left on device" in error


@pytest.mark.parametrize("inputs", [["--input", "x.npy"], ["-i", "x=x.npy"], ["-i", "x.npz"]])
def test_run(packed, capsys, inputs):
    np.savez("x.npz", x=X)
    assert bundle_main(["run", "v.tar", "--model", "a", *inputs, "--output", "o.npz"]) == 0
    assert capsys.readouterr().out == "0 'y' (1, 1, 1, 64) int8: min -64, max -1 at 0\n"
    assert (np.load("o.npz")["y"] == -1 - X).all()
    first = open("o.npz", "rb").read()  # noqa: SIM115
    assert run_main(["v.tar#a", *inputs, "-o", "o.npz"]) == 0 and run_main(["a.enf", *inputs]) == 0
    assert open("o.npz", "rb").read() == first  # noqa: SIM115


def test_random_inputs_are_those_of_the_seed(capsys):
    assert run_main(["a.enf", "--random", "7"]) == 0
    once = capsys.readouterr().out
    assert run_main(["a.enf", "--random", "7"]) == 0 and capsys.readouterr().out == once
    assert run_main(["a.enf", "--random", "8"]) == 0 and capsys.readouterr().out != once


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ([], 255, "required: COMMAND"),
        (["frob"], 255, "invalid choice: 'frob'"),
        (["pack", "--model", "a=a.enf"], 255, "required: --output"),
        (["pack", "-o", "x.tar"], 255, "required: --model"),
        (["pack", "-o", "x.tar", "--model", "a"], 255, "NAME=PATH is expected"),
        (["pack", "-o", "x.tar", "--model", "../a=a.enf"], 4, "cannot name a model"),
        (["pack", "-o", "x.tar", "--model", "a=x.npy"], 4, "model 'a', x.npy: not an ENF"),
        (["pack", "-o", "x.tar", "--model", "a=none.enf"], 2, "none.enf: No such file"),
        (["pack", "-o", "none/x.tar", "--model", "a=a.enf"], 2, "none does not exist, create it first"),
        (["verify", "none.tar"], 2, "none.tar: No such file"),
        (["verify", "a.enf"], 4, "a.enf: not a tar file"),
        (["verify", "."], 2, "Is a directory"),
        (["list", "x.npy"], 4, "x.npy: the archive ends without its end mark"),
        (["run", "v.tar", "--input", "x.npy"], 255, "has the models a, b: say which one"),
        (["run", "v.tar", "--model", "c", "--input", "x.npy"], 4, "has no model 'c'; it has a, b"),
        (["run", "v.tar", "--model", "a"], 255, "one of the arguments --input/-i --random is required"),
        (["run", "v.tar", "--model", "b", "--input", "x.npy"], 255, "expected (1, 1, 1, 128) (int8) but got"),
        (
            ["run", "v.tar", "--model", "a", "--input", "two.npz"],
            255,
            "there are 2 samples, but one run takes one",
        ),
        (["run", "v.tar", "--model", "a", "--input", "a.enf"], 255, "a.enf is not a whole .npy file"),
        (["run", "v.tar", "--model", "a", "--input", "none.npy"], 2, "none.npy: No such file"),
        (["run", "v.tar", "--model", "a", "--input", "z=x.npy"], 255, "'z' not found"),
        (["run", "v.tar", "--model", "a", "-i", "x=x.npy", "-i", "x=x.npy"], 255, "given twice"),
        (["run", "v.tar", "--model", "a", "--random", "-1"], 255, "a seed of 0 or more"),
        (
            ["run", "v.tar", "--model", "a", "--random", "1", "-o", "none/o.npz"],
            2,
            "none does not exist, create it first",
        ),
        (["@none"], 255, "No such file"),
    ],
)
def test_mistakes_get_one_sentence_and_a_code(packed, folder, capsys, arguments, code, sentence):
    np.savez("two.npz", x=np.concatenate([X, X]))
    before = sorted(os.listdir())
    assert bundle_main(arguments) == code
    error = capsys.readouterr().err
    assert error.startswith("ERROR: ") and sentence in error and error.count("\n") == 1
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize("kind", ["truncated", "huge", "pickle", "text"])
def test_npy_files_of_strangers(folder, capsys, kind):
    if kind == "pickle":
        np.save("bad.npy", np.array([{"a": 1}], object), allow_pickle=True)
    else:
        data = (folder / "x.npy").read_bytes()
        if kind == "truncated":
            data = data[:-1]
        elif kind == "huge":
            data = data.replace(b"(1, 1, 1, 64), }", b"(9" + b"9" * 12 + b",), }")
        else:
            data = b"1 2 3\n"
        (folder / "bad.npy").write_bytes(data)
    assert run_main(["a.enf", "--input", "bad.npy"]) == 255
    assert capsys.readouterr().err.startswith("ERROR: bad.npy is not a whole .npy file")


def test_the_bundler_starts_without_numpy(packed):
    code = (
        "import sys; from furiosa.runtime.cli import bundler_main;"
        "assert bundler_main(['verify', 'v.tar']) == 0;"
        "assert bundler_main(['pack', '-o', 'w.tar', '--model', 'a=a.enf']) == 0;"
        "print('numpy' in sys.modules)"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], env=own_path(), capture_output=True, text=True, check=True
        ).stdout
        == "False\n"
    )


def test_a_reader_that_has_seen_enough(packed):
    shell = f"{sys.executable} -m furiosa.runtime.bundle list v.tar --json | true"
    command = ["bash", "-c", f"set -o pipefail; {shell}"]
    done = subprocess.run(command, env=own_path(), capture_output=True, text=True, check=False)
    assert done.returncode in (0, 141) and done.stderr == ""  # 0 where it wrote before the reader went


def test_names_of_strangers_cannot_steer_the_terminal(folder, capsys):
    (folder / "evil.enf").write_bytes(table_enf(target="\x1b[2J\n"))
    for arguments in (["pack", "-o", "x.tar", "--model", "a=evil.enf"], ["verify", "no\x1b[2Jne\n.tar"]):
        assert bundle_main(arguments) != 0
        error = capsys.readouterr().err
        assert "\\x1b[2J" in error and "\x1b" not in error and error.count("\n") == 1
