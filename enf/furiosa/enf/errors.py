"""Why an ENF is refused."""

from __future__ import annotations


class EnfError(Exception):
    """An ENF that must not be run: one sentence that says what is wrong and where."""


class EnfFormatError(EnfError):
    """Not an ENF, a truncated one, a version that this reader does not know, or a checksum that does not match."""


class EnfVerifyError(EnfError):
    """A whole file whose program is unsafe: an access out of bounds, a read before its write, a race, a bad operand."""
