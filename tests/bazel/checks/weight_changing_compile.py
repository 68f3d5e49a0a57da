"""In the compiler's place: compiles, then changes one weight of the ENF; all checksums are right."""

from __future__ import annotations

import sys
from pathlib import Path

from furiosa.compiler.cli.main import main as compiler
from furiosa.enf import container, reader


def _change(path: Path) -> None:
    enf = reader.load(path.read_bytes())
    sections = {s.name: bytes(enf.section(s.name)) for s in enf.sections}
    constants = bytearray(sections["constants"])
    constants[len(constants) // 2] ^= 0x80
    path.unlink()
    path.write_bytes(container.to_bytes(sections | {"constants": bytes(constants)}))


def main() -> int:
    lines = Path(sys.argv[1][1:]).read_text(encoding="utf-8").splitlines() if sys.argv[1][0] == "@" else []
    status = compiler(sys.argv[1:])
    if status == 0 and "-o" in lines:
        _change(Path(lines[lines.index("-o") + 1]))
    return status


if __name__ == "__main__":
    sys.exit(main())
