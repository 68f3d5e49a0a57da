"""What the sections of an ENF must be: what its own reader accepts."""

from __future__ import annotations

from furiosa.compiler.dfg.legality import Illegal
from furiosa.compiler.errors import InvalidModel
from furiosa.enf import reader
from furiosa.enf.container import Chunked
from furiosa.enf.errors import EnfError


def check(sections: dict[str, bytes | Chunked]) -> reader.Unwritten:
    """Checks sections as loading the file would, and returns the program.

    Raises:
        InvalidModel: the program is larger than what a reader takes.
        Illegal: it would be refused for another reason.
    """
    try:
        return reader.check(sections)
    except EnfError as e:
        if e.is_limit:
            raise InvalidModel(
                f"the program is larger than what can be loaded: {e}; use a smaller batch, or compile the model in parts "
                "(--outputs, --inputs)"
            ) from None
        raise Illegal("enf", str(e)) from None
