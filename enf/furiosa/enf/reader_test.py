"""The door: what is loaded, what is refused, and that nothing but an EnfError ever comes out of a damaged file."""

from __future__ import annotations

import random

import pytest

from furiosa.enf import container, enf_pb2, reader
from furiosa.enf.errors import EnfError, EnfFormatError
from furiosa.enf.testing.programs import COMPUTING, Program, lookup, ranged, seal, table, tensor, typical

FILE = lookup().to_bytes()


def outcome(data: bytes) -> str:
    """What loading says; anything but a program or an EnfError of one printable line fails the test."""
    try:
        reader.load(data)
    except EnfError as e:
        sentence = str(e)
        assert sentence and sentence.isprintable() and len(sentence) < 1000
        return sentence
    return "loaded"


def with_host() -> Program:
    """A program that uses every message: two steps of commands and a host cluster between them."""
    p = lookup()
    p.host_models = b"a model"
    p.dram.append((128, 64))
    call = enf_pb2.HostCall(format="onnx", offset=0, size=7, estimated_us=2.5)
    call.inputs.append(tensor("y", 64, 64, dtype="uint8"))
    call.outputs.append(tensor("z", 128, 2, 8, dtype="float32"))
    p.outputs.append(tensor("z", 128, 16, dtype="float32"))
    p.steps = [ranged(0, 4), enf_pb2.Step(host_call=call)]
    p.debug.operators.add(name="lookup", op_type="TABLE", placed_on="npu", macs=0)
    p.debug.command_operator.extend([0, 0, 0, 0])
    for t in (*p.inputs, *p.outputs):
        t.quantization.scale, t.quantization.zero_point = 0.5, 3
    return p


def test_what_is_loaded():
    enf = reader.load(FILE)
    assert enf.size == len(FILE) and bytes(enf.data) == FILE
    assert bytes(enf.constants) == lookup().constants
    assert enf.target.name == "warboy-2pe"
    assert [c.instruction.name for c in enf.commands] == ["LOAD", "LOAD", "TABLE_LOOKUP", "STORE"]
    assert [t.name for t in (*enf.interface.inputs, *enf.interface.outputs)] == ["x", "y"]
    assert bytes(enf.section("nonsense")) == b""


@pytest.mark.parametrize("name", COMPUTING)
def test_a_program_of_each_instruction(name):
    assert outcome(typical(name).to_bytes()) == "loaded"


def test_host_models():
    enf = with_host().load()
    assert bytes(enf.host_model(enf.plan.steps[1].host_call)) == b"a model"


def test_load_file(tmp_path):
    path = tmp_path / "a.enf"
    path.write_bytes(FILE)
    assert reader.load_file(path).metadata == reader.load(FILE).metadata
    path.write_bytes(b"")
    with pytest.raises(EnfFormatError, match="empty"):
        reader.load_file(path)
    with pytest.raises(IsADirectoryError):
        reader.load_file(tmp_path)
    with pytest.raises(FileNotFoundError):
        reader.load_file(tmp_path / "nothing")


def test_any_buffer_of_bytes():
    assert outcome(memoryview(bytearray(FILE))) == "loaded"


def test_messages_that_are_none():
    for name in ("metadata", "interface", "plan", "memory", "debug"):
        data = container.to_bytes(lookup().sections() | {name: b"\xff" * 9})
        assert f"section '{name}' is not a" in outcome(data)


def test_strings_that_are_no_text():
    data = container.to_bytes(lookup().sections() | {"metadata": b"\x12\x02\xff\xfe"})
    assert "section 'metadata' is not a" in outcome(data)


def test_messages_too_large(monkeypatch):
    monkeypatch.setattr(reader, "MAX_MESSAGE", 1000)
    data = container.to_bytes(lookup().sections() | {"debug": bytes(1001)})
    assert outcome(data) == "section 'debug' has 1001 bytes, more than 1000"


def test_unknown_targets():
    p = lookup()
    p.target = "renegade"
    assert outcome(p.to_bytes()) == "unknown target NPU 'renegade'; known: warboy, warboy-2pe"
    p.target = "../../\n" + "x" * 100000
    assert outcome(p.to_bytes()).startswith("unknown target NPU '../../\\nxxx")


def test_every_truncation():
    for end in range(len(FILE)):
        assert outcome(FILE[:end]) != "loaded"
    for more in (b"\0", b"FENF", FILE):
        assert outcome(FILE + more) != "loaded"


def test_every_flipped_bit():
    """Every byte of a file is under a checksum, or is a zero between sections that must be one."""
    damaged = bytearray(FILE)
    for at in range(len(FILE)):
        for bit in range(8):
            damaged[at] ^= 1 << bit
            assert outcome(bytes(damaged)) != "loaded"
            damaged[at] ^= 1 << bit


def _content(data: bytes) -> list[int]:
    return [at for _, _, _, offset, size, _ in table(data) for at in range(offset, offset + size)]


def test_every_byte_changed_behind_right_checksums():
    """The checksums do not help here: decoder and verifier must refuse or find the program safe."""
    data = with_host().to_bytes()
    rows = table(data)
    messages = [at for at in _content(data) if at < rows[-2][3]]
    damaged, loaded = bytearray(data), 0
    for at in messages:
        old = data[at]
        for new in {0, 1, 0x7F, 0x80, 0xFF, old ^ 1, old ^ 0x10, (old + 1) % 256, (old - 1) % 256} - {old}:
            damaged[at] = new
            loaded += outcome(seal(damaged)) == "loaded"
        damaged[at] = old
    assert 0 < loaded < 5 * len(messages), "names and figures may change, addresses and shapes may not"


def test_every_byte_of_the_table_changed_behind_right_checksums():
    damaged = bytearray(FILE)
    end = container.HEADER.unpack_from(FILE)[3]
    for at in range(end):
        for new in {0, 1, 0x7F, 0x80, 0xFF, FILE[at] ^ 8} - {FILE[at]}:
            damaged[at] = new
            rows = table(damaged[: len(FILE)]) if at >= container.HEADER.size else table(FILE)
            header = container.HEADER.unpack_from(damaged)
            fields = dict(zip((f.name for f in container.HEADER_FIELDS), header))
            fields["magic"] = header[0]
            outcome(seal(damaged, rows, **fields))
        damaged[at] = FILE[at]


@pytest.mark.parametrize("seed", range(8))
def test_many_bytes_changed_behind_right_checksums(seed):
    draw = random.Random(seed)
    programs = [with_host(), *(typical(name) for name in COMPUTING)]
    for data in [p.to_bytes() for p in programs]:
        places = [at for at in _content(data) if at < table(data)[-2][3]]
        for _ in range(40):
            damaged = bytearray(data)
            for _ in range(draw.choice((1, 2, 3, 8, 30))):
                damaged[draw.choice(places)] = draw.choice((0, 1, 2, 0x40, 0x80, 0xFF, draw.randrange(256)))
            outcome(seal(damaged))


@pytest.mark.parametrize("seed", range(4))
def test_sections_cut_swapped_and_repeated(seed):
    draw = random.Random(seed)
    programs = [with_host(), *(typical(name) for name in COMPUTING)]
    for _ in range(400):
        sections = dict(draw.choice(programs).sections())
        for _ in range(draw.randrange(1, 3)):
            name, other = draw.choice(list(sections)), draw.choice(programs).sections()
            content = sections[name]
            change = draw.randrange(5)
            if change == 0:
                sections[name] = content[: draw.randrange(len(content) + 1)]
            elif change == 1:
                sections[name] = content + content
            elif change == 2:
                sections[name] = other[name]
            elif change == 3:
                sections[name] = other[draw.choice(list(other))]
            else:
                start = draw.randrange(len(content) + 1)
                sections[name] = content[:start] + bytes(draw.randrange(9)) + content[start:]
        outcome(container.to_bytes(sections))
