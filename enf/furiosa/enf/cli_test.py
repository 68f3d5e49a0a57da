"""The command ``furiosa enf``: exit statuses, sentences, and what is written."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from furiosa.enf import cli
from furiosa.enf.testing.programs import lookup

FILE = lookup().to_bytes()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.enf").write_bytes(FILE)
    (tmp_path / "empty.enf").write_bytes(b"")
    (tmp_path / "truncated.enf").write_bytes(FILE[:-1])
    race = lookup()
    race.commands[2].waits = (1, 0, 0)
    (tmp_path / "race.enf").write_bytes(race.to_bytes())
    other = lookup()
    other.constants = bytes(256)
    (tmp_path / "b.enf").write_bytes(other.to_bytes())
    return tmp_path


def test_verify_says_nothing_of_a_valid_file(folder, capsys):
    assert cli.main(["verify", "a.enf"]) == 0
    assert capsys.readouterr() == ("", "")
    assert sorted(os.listdir()) == ["a.enf", "b.enf", "empty.enf", "race.enf", "truncated.enf"]


def test_a_stamp_is_the_same_for_the_same_file(folder, capsys):
    os.mkdir("out")
    for name in ("s", "t"):
        assert cli.main(["verify", "a.enf", "--stamp", f"out/{name}"]) == 0
    assert (folder / "out/s").read_bytes() == (folder / "out/t").read_bytes() != b""
    assert cli.main(["verify", "--stamp", "out/s", "b.enf"]) == 0
    assert sorted(os.listdir("out")) == ["s", "t"]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("argv", "status", "sentence"),
    [
        ([], 255, "the following arguments are required: COMMAND; see furiosa enf -h"),
        (["nonsense"], 255, "argument COMMAND: invalid choice: 'nonsense' .*; see furiosa enf -h"),
        (["verify"], 255, "the following arguments are required: FILE; see furiosa enf verify -h"),
        (["verify", "a.enf", "--nonsense"], 255, "unrecognized arguments: --nonsense; see furiosa enf -h"),
        (["verify", "a.enf", "--stamp"], 255, "argument --stamp: expected one argument; .*"),
        (["verify", "a.enf", "--stamp", "./a.enf"], 255, "./a.enf is named twice: .*"),
        (
            ["dump", "a.enf", "--json", "--commands"],
            255,
            "argument --commands: not allowed with argument --json; .*",
        ),
        (["diff", "a.enf"], 255, "the following arguments are required: B; see furiosa enf diff -h"),
        (["dump", "missing.enf"], 2, "cannot read missing.enf: No such file or directory"),
        (["diff", "a.enf", "missing.enf"], 2, "cannot read missing.enf: No such file or directory"),
        (["verify", "."], 2, "cannot read .: Is a directory"),
        (["verify", "a\0b"], 2, r"cannot read a\\x00b: embedded null byte"),
        (["verify", ""], 2, "cannot read : No such file or directory"),
        (
            ["verify", "a.enf", "--stamp", "no/such/folder"],
            2,
            "cannot write no/such/folder: the folder .* does not exist, create it first",
        ),
        (["verify", "a.enf", "--stamp", "."], 2, "cannot write .: .*"),
        (["verify", "a.enf", "--stamp", "a\0b"], 2, r"cannot write a\\x00b: a name holds no null character"),
        (["verify", "empty.enf"], 4, "empty.enf: not an ENF: the file is empty"),
        (
            ["dump", "truncated.enf"],
            4,
            "truncated.enf: the file has 4351 bytes where its header says 4352: .*",
        ),
        (["diff", "a.enf", "truncated.enf"], 4, "truncated.enf: .*"),
        (
            ["verify", "race.enf", "--stamp", "s"],
            4,
            r"race.enf: command 2 \(TABLE_LOOKUP\): it races with .*",
        ),
        (["verify", cli.__file__], 4, ".*cli.py: not an ENF: it is a text file"),
    ],
)
def test_errors(folder, capsys, argv, status, sentence):
    before = sorted(os.listdir())
    assert cli.main(argv) == status
    out, err = capsys.readouterr()
    assert out == "" and re.fullmatch(f"ERROR: {sentence}\n", err)
    assert sorted(os.listdir()) == before


def test_help(folder, capsys):
    assert cli.main(["-h"]) == 0
    assert "verify" in capsys.readouterr().out
    assert cli.main(["dump", "-h"]) == 0
    assert "--json" in capsys.readouterr().out


def test_diff_is_like_diff(folder, capsys):
    assert cli.main(["diff", "a.enf", "a.enf"]) == 0
    assert capsys.readouterr() == ("the same, byte for byte\n", "")
    assert cli.main(["diff", "a.enf", "b.enf"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("same program, other weights (same source, options and compiler)\n")
    assert "constants: 255 of 256 bytes differ" in out
    assert cli.main(["diff", "a.enf", "b.enf", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["same"] is False


def test_dump(folder, capsys):
    assert cli.main(["dump", "a.enf"]) == 0
    assert capsys.readouterr().out.startswith("ENF 1.1, 4352 bytes, for warboy-2pe, batch size 1\n")
    assert cli.main(["dump", "--commands", "a.enf"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert cli.main(["dump", "a.enf", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["size"] == 4352


def test_a_stream_that_knows_only_ascii(folder):
    p = lookup()
    p.inputs[0].name = "größe\nERROR"
    (folder / "a.enf").write_bytes(p.to_bytes())
    for argv in (["dump", "a.enf"], ["dump", "a.enf", "--json"]):
        run = process(argv, PYTHONIOENCODING="ascii")
        assert run.returncode == 0 and run.stderr == b""
        assert rb"gr\xf6\xdfe\nERROR" in run.stdout or rb"gr\u00f6\u00dfe\nERROR" in run.stdout


def process(argv, stdout=subprocess.PIPE, **env):
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | env
    command = [sys.executable, "-m", "furiosa.enf.cli", *argv]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, env=env, check=False)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full, which is always full, is Linux's")
def test_a_full_disk(folder):
    with open("/dev/full", "wb") as full:
        run = process(["dump", "a.enf"], stdout=full)
    assert run.returncode == 2
    assert run.stderr == b"ERROR: cannot write the output: No space left on device\n"


def test_a_reader_that_has_seen_enough(folder):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as gone:
        run = process(["dump", "a.enf"], stdout=gone)
    assert (run.returncode, run.stderr) == (141, b"")


def test_files_that_are_no_files(folder):
    assert process(["verify", os.devnull]).returncode == 2
