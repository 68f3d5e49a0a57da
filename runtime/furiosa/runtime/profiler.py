"""The profiler: ``with profile(file="trace.json") as profiler: session.run(x)``, with names of the vendor's profiler.

Two clocks, always apart: **measured** is wall time of this machine, on which the NPU is simulated in software, so it is no NPU
time; **simulated** is what the timing model estimates for an NPU, and nothing of it was measured.
"""

from __future__ import annotations

import atexit
import enum
import io
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter_ns
from typing import IO, TYPE_CHECKING, Any, Self

from furiosa.runtime import recording
from furiosa.runtime.errors import InvalidSessionOption
from furiosa.runtime.recording import Recorder, Span

if TYPE_CHECKING:
    from furiosa.runtime.session import Session

MEASURED = "measured on this machine, on which the NPU is simulated in software: no NPU time"
SIMULATED = "simulated NPU time: an estimate of the timing model, not measured"


class Resource(enum.Enum):
    """What is recorded: measured time of the host, simulated time of the NPU, or both."""

    ALL = "all"
    CPU = "cpu"
    NPU = "npu"


class RecordFormat(enum.Enum):
    """What becomes of a recording: a trace is written to ``file``; else it is asked for by ``get_pandas_dataframe``."""

    ChromeTrace = "chrome_trace"
    PandasDataFrame = "pandas_data_frame"


class Profiler:
    """Records inferences from ``__enter__`` to ``__exit__``; what is recorded can be asked for at any time."""

    def __init__(
        self,
        resource: Resource = Resource.ALL,
        format: RecordFormat = RecordFormat.ChromeTrace,
        file: str | os.PathLike[str] | IO | None = None,
        *,
        session: Session | None = None,
    ):
        """See ``profile``; ``session``: None for all sessions of the process."""
        self.resource, self.format = Resource(resource), RecordFormat(format)
        if self.format is RecordFormat.PandasDataFrame and file is not None:
            raise InvalidSessionOption("format PandasDataFrame writes no file: leave 'file' out")
        if isinstance(file, (str, os.PathLike)):
            folder = os.path.dirname(os.path.abspath(os.fspath(file)))
            if not os.path.isdir(folder):
                raise InvalidSessionOption(f"file: there is no folder {folder}")
        self._file = file
        self._recorder = Recorder(session)

    def __enter__(self) -> Self:
        recording.start(self._recorder)
        return self

    def __exit__(self, *_: object) -> None:
        recording.stop(self._recorder)
        if self._file is not None:
            self.export_chrome_trace(self._file)

    @contextmanager
    def record(self, name: str) -> Iterator[Self]:
        """Marks a part of the program, which the trace shows around what happened in it on this thread."""
        begun = perf_counter_ns()
        try:
            yield self
        finally:
            if not self._recorder.paused:
                span = Span(str(name), recording.USER, begun, perf_counter_ns(), recording.here(), {})
                self._recorder.add([span])

    def pause(self) -> None:
        """Records nothing until ``resume``."""
        self._recorder.paused = True

    def resume(self) -> None:
        """Records again."""
        self._recorder.paused = False

    @property
    def spans(self) -> list[Span]:
        """All measured spans, as they ended."""
        return list(self._recorder.spans)

    @property
    def inferences(self) -> list[Span]:
        """The measured spans of whole inferences."""
        return self._recorder.inferences()

    @property
    def recorder(self) -> Recorder:
        """What the profiler has collected."""
        return self._recorder

    def export_chrome_trace(self, file: str | os.PathLike[str] | IO) -> None:
        """Writes a trace for chrome://tracing or Perfetto, to a path or to an open file.

        Raises:
            OSError: the file cannot be written.
        """
        from furiosa.runtime.profile_trace import trace

        text = trace(self._recorder, self.resource)
        if isinstance(file, (str, os.PathLike)):
            from furiosa.enf.outputs import replacing

            with replacing(file) as f:
                f.write(text.encode("ascii"))
        elif isinstance(file, io.TextIOBase):
            file.write(text)
        else:
            file.write(text.encode("ascii"))

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary for each span, with the columns that the vendor's data frame has where they apply; times in ns.

        Column ``clock`` is "measured" (start and end on the clock of ``time.perf_counter_ns``) or "simulated" (0 is the start of
        the run; each program appears once, with one run).
        """
        from furiosa.runtime.profile_trace import rows

        return rows(self._recorder, self.resource)

    def get_pandas_dataframe(self) -> Any:
        """``rows`` as a pandas.DataFrame; needs the package pandas.

        Raises:
            InvalidSessionOption: pandas is not installed.
        """
        try:
            import pandas
        except ModuleNotFoundError:
            raise InvalidSessionOption(
                "get_pandas_dataframe needs the Python package pandas, which is not installed; "
                "rows() gives the same as a list"
            ) from None
        return pandas.DataFrame(self.rows())

    def get_pandas_dataframe_with_filter(self, column: str, value: object) -> Any:
        """The rows of the data frame that have a value in a column; raises as ``get_pandas_dataframe``, and KeyError."""
        frame = self.get_pandas_dataframe()
        return frame[frame[column] == value]

    def get_cpu_pandas_dataframe(self) -> Any:
        """The measured rows of the data frame; raises as ``get_pandas_dataframe``."""
        return self.get_pandas_dataframe_with_filter("clock", "measured")

    def get_npu_pandas_dataframe(self) -> Any:
        """The simulated rows of the data frame; raises as ``get_pandas_dataframe``."""
        return self.get_pandas_dataframe_with_filter("clock", "simulated")

    def print_summary(self) -> None:
        """Prints how long the inferences took, measured, and what one takes on the NPU, estimated."""
        from furiosa.runtime.profile_text import summary

        _print(summary(self._recorder))

    def print_inferences(self) -> None:
        """Prints a line for each inference: measured time and its parts."""
        from furiosa.runtime.profile_text import inferences

        _print(inferences(self._recorder))

    def print_npu_operators(self) -> None:
        """Prints the operators on the NPU with their simulated time."""
        from furiosa.runtime.profile_text import npu_operators

        _print(npu_operators(self._recorder))

    def print_npu_executions(self) -> None:
        """Prints the steps of each plan that the NPU does, with their simulated time."""
        from furiosa.runtime.profile_text import npu_executions

        _print(npu_executions(self._recorder))

    def print_external_operators(self) -> None:
        """Prints the clusters on the host with their measured time."""
        from furiosa.runtime.profile_text import external_operators

        _print(external_operators(self._recorder))


def profile(
    resource: Resource = Resource.ALL,
    format: RecordFormat = RecordFormat.ChromeTrace,
    file: str | os.PathLike[str] | IO | None = None,
) -> Profiler:
    """A context manager that records the inferences of all sessions of this process.

    Args:
        resource: what is in the trace and in ``rows``.
        format: ``RecordFormat.ChromeTrace`` or ``RecordFormat.PandasDataFrame``.
        file: a path or an open file that the trace is written to at the end; None for none.

    Raises:
        ValueError: a resource or a format that does not exist.
        InvalidSessionOption: a file that cannot be.
    """
    return Profiler(resource, format, file)


_process_lock = threading.Lock()
_process_profiler: Profiler | None = None


def profile_process(path: str) -> None:
    """Records from now until the process ends, and then writes a trace to a path; once for a process.

    Raises:
        InvalidSessionOption: the path cannot be.
    """
    global _process_profiler
    with _process_lock:
        if _process_profiler is not None:
            return
        if not path:
            raise InvalidSessionOption("FURIOSA_PROFILER_OUTPUT_PATH is empty: set it to a path, or unset it")
        profiler = Profiler(file=path)
        try:
            profiler.__enter__()
            atexit.register(_finish, profiler, path, os.getpid())
            _process_profiler = profiler
        except BaseException:  # it was not begun: the next session begins it
            recording.stop(profiler.recorder)
            atexit.unregister(_finish)
            raise


def _forked() -> None:
    """Whoever had the lock is not here."""
    global _process_lock
    _process_lock = threading.Lock()


os.register_at_fork(after_in_child=_forked)


def _finish(profiler: Profiler, path: str, process: int) -> None:
    if process != os.getpid():  # a fork, which has nothing to say about its parent
        return
    try:
        profiler.__exit__()
    except OSError as e:
        sys.stderr.write(f"ERROR: FURIOSA_PROFILER_OUTPUT_PATH: cannot write {path}: {e.strerror or e}\n")


def _print(lines: Iterator[str]) -> None:
    from furiosa.runtime.cli import plain

    for line in lines:
        print(plain(line))
