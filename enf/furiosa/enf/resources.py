"""The data files of this package."""

from __future__ import annotations

import os


def read(name: str) -> str:
    """The text of a data file; ``name`` is its path below this package, with ``/``.  It may lie in an archive, as its modules may.

    Raises:
        OSError: there is no such file.
    """
    path = os.path.join(os.path.dirname(__file__), *name.split("/"))
    return __spec__.loader.get_data(path).decode("utf-8")
