"""In the compiler's place: writes what it sees of the machine, instead of an ENF, as JSON."""

from __future__ import annotations

import importlib.metadata
import json
import os
import socket
import sys
from pathlib import Path


def main(argv: list[str]) -> None:
    lines = Path(argv[0].removeprefix("@")).read_text(encoding="utf-8").splitlines()
    surroundings = {
        "arguments": argv,
        "lines": lines,
        "environment": dict(os.environ),
        "network_interfaces": [name for _, name in socket.if_nameindex()],
        "distributions": [d.metadata["Name"] for d in importlib.metadata.distributions()],
        "import_path": sys.path,
        "can_write_home": os.access(os.path.expanduser("~"), os.W_OK),
    }
    for option in ("--report-json", "--dot-graph"):
        Path(lines[lines.index(option) + 1]).touch()
    Path(lines[lines.index("-o") + 1]).write_text(json.dumps(surroundings), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
