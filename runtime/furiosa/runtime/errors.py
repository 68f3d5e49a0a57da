"""What can go wrong at run time, by the names and native codes of the vendor's public runtime."""

from __future__ import annotations

import enum
import errno
from collections.abc import Iterator
from contextlib import contextmanager

from furiosa.enf.command import BAD_ARGUMENTS, INVALID_FORMAT, INVALID_MODEL, OTHER


class NativeError(enum.IntEnum):
    """The vendor's public list of native runtime codes."""

    SUCCESS = 0
    NUX_CREATION_FAILED = 1
    MODEL_DEPLOY_FAILED = 2
    MODEL_EXECUTION_FAILED = 3
    INVALID_INPUT_INDEX = 4
    INVALID_OUTPUT_INDEX = 5
    INVALID_BUFFER = 6
    INVALID_INPUTS = 7
    INVALID_OUTPUTS = 8
    GET_TASK_FAILED = 9
    DUMP_PROFILE_FAILED = 10
    QUEUE_WAIT_TIMEOUT = 11
    QUEUE_NO_DATA = 12
    INCOMPATIBLE_MODEL = 13
    COMPILATION_FAILED = 14
    INTERNAL_ERROR = 15
    INVALID_YAML = 16
    NULL_POINTER = 20
    INVALID_SESSION_OPTIONS = 21
    SESSION_TERMINATED = 22
    DEVICE_BUSY = 23
    TENSOR_NAME_NOT_FOUND = 24
    UNSUPPORTED_FEATURE = 25
    INVALID_COMPILER_CONFIG = 30


class FuriosaRuntimeError(Exception):
    """Base of all errors of this package: one sentence, and a native code where the vendor has one.

    ``native_err`` is that code or None; ``str()`` appends it.  ``exit_code`` is that of a command that ends with the error.
    """

    native_err: NativeError | None = None
    exit_code = OTHER

    def __init__(self, message: str):
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        if self.native_err is None:
            return self.message
        return f"{self.message} (native error code: {self.native_err.value})"


class SessionClosed(FuriosaRuntimeError):
    """The session was used after ``close()``."""


class UnsupportedTensorType(FuriosaRuntimeError):
    """A value that is no tensor, or of an element type that no model can have."""

    exit_code = BAD_ARGUMENTS


class ModelDeployFailed(FuriosaRuntimeError):
    """A part of the model that runs on the host could not be loaded by its runtime."""

    native_err = NativeError.MODEL_DEPLOY_FAILED
    exit_code = INVALID_MODEL


class ModelExecutionFailed(FuriosaRuntimeError):
    """A part of the model that runs on the host failed while it ran."""

    native_err = NativeError.MODEL_EXECUTION_FAILED


class HostRuntimeMissing(ModelDeployFailed):
    """The reference runtime of a part of the model that runs on the host is not installed."""

    exit_code = OTHER


class NoHostProcess(ModelDeployFailed):
    """No process can be started for what runs on the host."""

    exit_code = OTHER


class HostOutputMismatch(ModelExecutionFailed):
    """A part of the model that runs on the host gave a tensor of another shape or element type than the file says."""

    exit_code = INVALID_MODEL


class HostProcessEnded(ModelExecutionFailed):
    """The process in which a part of the model runs on the host has ended, by a crash of its runtime say.

    ``signal`` is the number of the signal that ended it, or None.
    """

    def __init__(self, message: str, signal: int | None = None):
        super().__init__(message)
        self.signal = signal


class InvalidInput(FuriosaRuntimeError):
    """Tensors of a wrong number, shape or element type."""

    exit_code = BAD_ARGUMENTS
    native_err = NativeError.INVALID_INPUTS


class TensorNameNotFound(InvalidInput):
    """A name that is no input and no output of the model."""

    native_err = NativeError.TENSOR_NAME_NOT_FOUND


class QueueWaitTimeout(FuriosaRuntimeError):
    """No result arrived in time."""

    native_err = NativeError.QUEUE_WAIT_TIMEOUT


class IncompatibleModel(FuriosaRuntimeError):
    """A file that cannot be run: damaged, unsafe, or compiled for another target, device or batch size."""

    exit_code = INVALID_FORMAT
    native_err = NativeError.INCOMPATIBLE_MODEL


class CompilationFailed(FuriosaRuntimeError):
    """The model could not be compiled; ``compiler_code`` is the compiler's native code, if there is one."""

    native_err = NativeError.COMPILATION_FAILED

    def __init__(self, message: str, compiler_code: int | None = None):
        super().__init__(message)
        self.compiler_code = compiler_code
        self.exit_code = compiler_code or 1


class InvalidCompilerConfig(FuriosaRuntimeError):
    """``compile_config`` holds a key or a value that the compiler does not know."""

    exit_code = 12
    native_err = NativeError.INVALID_COMPILER_CONFIG


class InvalidSessionOption(FuriosaRuntimeError):
    """A device, a number of workers or a queue size that cannot be."""

    exit_code = BAD_ARGUMENTS
    native_err = NativeError.INVALID_SESSION_OPTIONS


class ResourceExhausted(FuriosaRuntimeError):
    """The system has no memory, thread or file descriptor left; what was begun is undone, and may be tried again."""


class SessionTerminated(FuriosaRuntimeError):
    """The asynchronous session behind a queue was closed."""

    native_err = NativeError.SESSION_TERMINATED


class BundleError(FuriosaRuntimeError):
    """A bundle that must not be used: one sentence that says what is wrong and where."""

    exit_code = INVALID_FORMAT


@contextmanager
def not_exhausted() -> Iterator[None]:
    """Says in a ``ResourceExhausted`` what the system did not have inside."""
    try:
        yield
    except MemoryError as e:
        raise ResourceExhausted(f"not enough memory{f': {e}' if str(e) else ''}") from e
    except OSError as e:
        if e.errno in (errno.EMFILE, errno.ENFILE):
            raise ResourceExhausted(
                f"no file descriptor is left{f' to open {e.filename}' if e.filename else ''}: {_HINT[e.errno]}"
            ) from e
        raise


_HINT = {
    errno.EMFILE: "close some files, or raise this process's limit (ulimit -n)",
    errno.ENFILE: "the whole system has too many open (sysctl fs.file-max)",
}
