"""Why an ENF is refused."""

from __future__ import annotations

MAX_SENTENCE = 400  # characters: names in a file may be of any length


def printable(text: str, limit: int = MAX_SENTENCE) -> str:
    """The text on one line: what cannot be printed, as names in a file may hold, is escaped, and too much is left out."""
    if len(text) > limit:
        text = f"{text[: limit // 2]} … {text[-limit // 2 :]}"
    return visible(text)


def visible(text: str) -> str:
    """The text on one line, of any length: what a terminal or an editor acts on is escaped.  A lone surrogate is, too."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class EnfError(Exception):
    """An ENF that must not be run: one sentence that says what is wrong and where."""

    exit_code = 4  # of a command that ends with it

    def __init__(self, sentence: str, *, is_limit: bool = False):
        """``is_limit``: the file may be sound, but is larger than what a reader takes."""
        super().__init__(printable(sentence))
        self.is_limit = is_limit


class EnfFormatError(EnfError):
    """Not an ENF, a truncated one, a version that this reader does not know, or a checksum that does not match."""


class EnfVerifyError(EnfError):
    """A whole file whose program is unsafe: an access out of bounds, a read before its write, a race, a bad operand."""
