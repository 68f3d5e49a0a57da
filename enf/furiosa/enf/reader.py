"""The door: bytes or a file in, a verified program out.  There is no other way to load an ENF."""

from __future__ import annotations

import mmap
import os
import threading

from google.protobuf.message import DecodeError

from furiosa.enf import codec, container, enf_pb2, verify
from furiosa.enf.container import Section
from furiosa.enf.errors import EnfFormatError
from furiosa.enf.isa import Command
from furiosa.enf.target import Target, load_target

# of a section that is a message, in bytes: parsing one takes many times its size
MAX_MESSAGE = 1 << 24

_MESSAGES = {
    "metadata": enf_pb2.Metadata,
    "interface": enf_pb2.Interface,
    "plan": enf_pb2.Plan,
    "memory": enf_pb2.MemoryPlan,
    "debug": enf_pb2.DebugMap,
}

# Sections that neither reader nor verifier looks into: above so many bytes their checksums are compared on a second
# thread, side by side with the verification and, for who does not wait, with what comes after it.
_DATA = ("constants", "host_models")
_LARGE = 1 << 22


class Enf:
    """A verified program.

    ``metadata``, ``interface``, ``plan``, ``memory`` and ``debug`` are the messages of enf.proto; ``commands`` the decoded
    code; ``constants`` the mapped bytes of that section; ``sections`` the section table; ``data`` the whole file, ``size``
    bytes.
    """

    def __init__(self, data: memoryview, *, wait: bool = True):
        self.size = len(data)
        self.sections = container.read_table(data, checksums=False)
        self.data = data
        large = [s for s in self.sections if s.name in _DATA and s.size > _LARGE]
        for s in self.sections:
            if s not in large:
                container.compare_checksum(data, s)
        self._pending = [_Comparison(data, s) for s in large]
        try:
            self._read()
        except BaseException:
            self.wait()  # damage goes before what it may have led to
            raise
        if wait:
            self.wait()

    def wait(self) -> None:
        """Waits until all checksums have been compared.  Without it constants and host models must not be used.

        Raises:
            EnfFormatError: one does not match, every time.
        """
        for comparison in self._pending:
            comparison.join()
        for comparison in self._pending:
            if comparison.error is not None:
                raise comparison.error

    def _read(self) -> None:
        for name, message in _MESSAGES.items():
            content = self.section(name)
            if len(content) > MAX_MESSAGE:
                raise EnfFormatError(f"section '{name}' has {len(content)} bytes, more than {MAX_MESSAGE}")
            try:
                setattr(self, name, message.FromString(bytes(content)))
            except DecodeError:
                raise EnfFormatError(f"section '{name}' is not a {message.DESCRIPTOR.name} message") from None
        self.commands: list[Command] = codec.decode(self.section("code"))
        self.constants: memoryview = self.section("constants")
        try:
            self.target: Target = load_target(self.metadata.target_npu)
        except ValueError as e:
            raise EnfFormatError(str(e)) from None
        verify.verify(self)

    metadata: enf_pb2.Metadata
    interface: enf_pb2.Interface
    plan: enf_pb2.Plan
    memory: enf_pb2.MemoryPlan
    debug: enf_pb2.DebugMap

    def section(self, name: str) -> memoryview:
        """The bytes of a section, not copied; empty where an optional section is missing."""
        for s in self.sections:
            if s.name == name:
                return self.data[s.offset : s.offset + s.size]
        return self.data[:0]

    def host_model(self, call: enf_pb2.HostCall) -> memoryview:
        """The bytes of a host cluster's model."""
        return self.section("host_models")[call.offset : call.offset + call.size]


class _Comparison(threading.Thread):
    """The comparison of one section's checksum on a thread of its own; ``error`` is its outcome."""

    def __init__(self, data: memoryview, section: Section):
        super().__init__(name="checksum")
        self._arguments = data, section
        self.error: EnfFormatError | None = None
        self.start()

    def run(self) -> None:
        try:
            container.compare_checksum(*self._arguments)
        except EnfFormatError as e:
            self.error = e


def load(data: bytes | memoryview, *, wait: bool = True) -> Enf:
    """A verified program from bytes, which stay referenced.

    Without ``wait`` it may be returned before the checksums of large sections are compared: see ``Enf.wait``.

    Raises:
        EnfFormatError, EnfVerifyError: the file must not be run.
    """
    return Enf(memoryview(data).cast("B"), wait=wait)


def load_file(path: str | os.PathLike[str]) -> Enf:
    """A verified program from a file, mapped and not read into memory.

    The file must not be truncated in place while the program is in use: replace it by renaming.

    Raises:
        OSError: the file cannot be opened.
        EnfFormatError, EnfVerifyError: the file must not be run.
    """
    with open(path, "rb") as f:
        try:
            data = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:  # mmap's word for a file of no bytes
            raise EnfFormatError("not an ENF: the file is empty") from None
    return load(memoryview(data))
