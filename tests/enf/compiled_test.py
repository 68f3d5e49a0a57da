"""What the compiler writes, in the hands of the format's tools: loaded, shown, compared, damaged."""

from __future__ import annotations

import json
import random

import pytest

from furiosa.compiler.pipeline import compile_model
from furiosa.enf import cli, codec, container, diff, dump, reader
from furiosa.enf.errors import EnfError, EnfFormatError, EnfVerifyError
from furiosa.enf.isa import Command
from furiosa.enf.machine import Engine, Space
from furiosa.enf.testing.programs import seal, table


def sections(enf: bytes) -> dict[str, bytes]:
    view = memoryview(enf)
    return {s.name: bytes(view[s.offset : s.offset + s.size]) for s in container.read_table(view)}


def test_it_is_valid_and_can_be_shown(tiny_enf, tmp_path, capsys):
    path = tmp_path / "tiny.enf"
    path.write_bytes(tiny_enf)
    assert cli.main(["verify", str(path)]) == 0
    for how in ([], ["--commands"], ["--json"]):
        assert cli.main(["dump", str(path), *how]) == 0
        out = capsys.readouterr().out
        assert out
    assert len(json.loads(out)["commands"]) == len(reader.load(tiny_enf).commands)


def test_decoding_and_encoding_again_gives_the_same_code(tiny_enf):
    assert codec.encode(reader.load(tiny_enf).commands) == sections(tiny_enf)["code"]


def test_sections_written_again_give_the_same_file(tiny_enf):
    assert container.to_bytes(sections(tiny_enf)) == tiny_enf


def test_difference_between_targets(tiny_model):
    one, two = (reader.load(compile_model(tiny_model, target_npu=t)) for t in ("warboy", "warboy-2pe"))
    lines = diff.diff(one, two)
    assert "metadata: target_npu: warboy -> warboy-2pe" in lines
    assert any(line.startswith("commands: ") for line in lines)
    assert not any(line.startswith(("inputs", "outputs", "operators")) for line in lines)


def test_both_fused_pes_have_work(tiny_model):
    """The convolution is split over more slices than one PE has."""
    splits = {}
    for target in ("warboy", "warboy-2pe"):
        enf = reader.load(compile_model(tiny_model, target_npu=target))
        assert {c.engine for c in enf.commands} == set(range(Engine.COUNT))
        values = [c.arguments for c in enf.commands if c.instruction.name == "CONV2D"]
        splits[target] = [v["split_pixels"] * v["split_channels"] for v in values]
    assert set(splits["warboy"]) == {64} and set(splits["warboy-2pe"]) == {128}


def test_every_wait_is_needed(tiny_model):
    """Without any one of its waits the program races, unless another wait of the command implies it."""
    removed = 0
    for target in ("warboy", "warboy-2pe"):
        enf = compile_model(tiny_model, target_npu=target)
        parts, whole = sections(enf), reader.load(enf).commands
        for i, c in enumerate(whole):
            for engine in range(Engine.COUNT):
                if not c.waits[engine] or sum(map(bool, c.waits)) > 1:
                    continue
                waits = tuple(0 if e == engine else w for e, w in enumerate(c.waits))
                commands = list(whole)
                commands[i] = Command(c.instruction, c.engine, waits, c.operands, c.params)
                with pytest.raises(EnfVerifyError, match="it races"):
                    reader.load(container.to_bytes(parts | {"code": codec.encode(commands)}))
                removed += 1
    assert removed > 3


def test_an_operand_anywhere_else_is_refused(tiny_enf):
    """Each written operand moved by some bytes: it leaves its buffer, or what is read after it is not written."""
    parts, whole = sections(tiny_enf), reader.load(tiny_enf).commands
    for i in range(len(whole)):
        commands = codec.decode(memoryview(parts["code"]))
        commands[i].operands[-1].address += 64
        with pytest.raises(EnfVerifyError):
            reader.load(container.to_bytes(parts | {"code": codec.encode(commands)}))


def test_truncations(tiny_enf):
    ends = {*range(0, len(tiny_enf), 97), *range(len(tiny_enf) - 50, len(tiny_enf)), *range(600)}
    for end in ends:
        with pytest.raises(EnfFormatError):
            reader.load(tiny_enf[:end])


def test_every_byte_edited(tiny_enf):
    """One bit of every byte; a checksum finds it wherever it is."""
    damaged = bytearray(tiny_enf)
    for at in range(len(damaged)):
        damaged[at] ^= 1 << at % 8
        with pytest.raises(EnfFormatError):
            reader.load(damaged)
        damaged[at] ^= 1 << at % 8


@pytest.mark.parametrize("seed", range(4))
def test_bytes_edited_behind_right_checksums(tiny_enf, seed):
    """Where the checksums are made right again, the program is refused with an EnfError, or is safe."""
    draw = random.Random(seed)
    rows = [r for r in table(tiny_enf) if r[0].rstrip(b"\0") not in (b"constants", b"host_models")]
    places = [at for _, _, _, offset, size, _ in rows for at in range(offset, offset + size)]
    refused = 0
    for _ in range(500):
        damaged = bytearray(tiny_enf)
        for _ in range(draw.choice((1, 1, 1, 2, 5))):
            damaged[draw.choice(places)] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
        try:
            enf = reader.load(seal(damaged))
        except EnfError:
            refused += 1
        else:
            list(dump.commands(enf))
            list(dump.summary(enf))
            dump.as_json(enf)
            diff.diff(enf, reader.load(tiny_enf))
    assert 250 < refused < 500


def test_constants_are_read_only_by_loads(tiny_enf):
    for c in reader.load(tiny_enf).commands:
        for r in c.operands[0 if c.instruction.name != "LOAD" else 1 :]:
            assert r.space != Space.CONST
