"""Starting another Python interpreter for code of this project."""

from __future__ import annotations

import json
import os
import sys

# It finds modules where this one does, and none in the current folder.
_PATH = "import json, sys; sys.path += [p for p in json.loads(sys.argv.pop(1)) if p not in sys.path]; "


def command(code: str, *arguments: object) -> list[str]:
    """The words of a command that runs ``code`` with ``arguments`` in ``sys.argv[1:]``, by the interpreter of this process and with its
    flags of isolation.
    """
    flags = ["-P", *(["-I"] if sys.flags.isolated else []), *(["-S"] if sys.flags.no_site else [])]
    path = json.dumps([os.path.abspath(p) for p in sys.path])
    return [sys.executable, *flags, "-c", _PATH + code, path, *map(str, arguments)]
