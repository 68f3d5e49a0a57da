"""What can go wrong in a compilation, with the native codes that the vendor's compiler documents."""

from __future__ import annotations


class CompileError(Exception):
    """A model that cannot be compiled: one sentence that says what, where and what to do.

    ``code`` is the native code (the exit status of ``furiosa compile``), after the vendor's public list.
    """

    code = 1

    @property
    def exit_code(self) -> int:
        """For furiosa.enf.command."""
        return self.code

    def __init__(self, message: str):
        # names in the message come from the model: no control character of theirs may reach a terminal or a log line
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in message))


class LowCoverage(CompileError):
    """A model of which the NPU does less, or the host more, than was asked for."""


class IoError(CompileError):
    """A file that cannot be read or written."""

    code = 2


class InvalidFormat(CompileError):
    """Bytes that are not a whole TFLite or ONNX file (empty, truncated, of another format)."""

    code = 4


class InvalidModel(CompileError):
    """A well-formed file whose model cannot be compiled (dynamic shape, unknown custom operator, bad reference)."""

    code = 5


class ShapesDisagree(InvalidModel):
    """A model in which an operator's inputs, or its constants, do not go together."""


class InvalidNpuId(CompileError):
    """A target NPU that does not exist."""

    code = 6


class OutOfDram(CompileError):
    """A program that needs more than the NPU's DRAM where that is denied, or than the host memory behind it."""

    code = 7


class OutOfSram(CompileError):
    """An operator of which not even one tile fits the NPU's SRAM."""

    code = 8


class InvalidConfig(CompileError):
    """An option out of its range (batch size, target IR)."""

    code = 12
