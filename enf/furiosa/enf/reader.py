"""The door: bytes or a file in, a verified program out.  There is no other way to load an ENF."""

from __future__ import annotations

import hashlib
import os
import threading
from contextlib import suppress

from google.protobuf.message import DecodeError

from furiosa.enf import codec, container, enf_pb2, files, threads, verify
from furiosa.enf.container import Chunked, Section
from furiosa.enf.errors import EnfFormatError
from furiosa.enf.files import Content, Part
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

# Sections that neither reader nor verifier looks into: above so many bytes they are read and their checksums compared on a
# second thread, side by side with the verification and, for who does not wait, with what comes after it.
_DATA = ("constants", "host_models")
_LARGE = 1 << 20


class Enf:
    """A verified program, in memory that nothing outside of this process changes.

    ``metadata``, ``interface``, ``plan``, ``memory`` and ``debug`` are the messages of enf.proto; ``commands`` the decoded
    code; ``constants`` the bytes of that section; ``sections`` the section table; ``data`` the whole file, ``size`` bytes.
    """

    def __init__(self, content: Content, *, wait: bool = True, sha256: str | None = None):
        self.size = len(content)
        self.sections = container.read_table(content, checksums=False)
        is_file = isinstance(content, Part)
        memory = files.allocate(self.size, is_filled=True) if is_file else content
        self.data = memory.toreadonly()
        large = [s for s in self.sections if s.name in _DATA and s.size > _LARGE]
        small = [s for s in self.sections if s not in large]
        if is_file:
            _read(content, memory, 0, self.sections[0].offset)
        for s in small:
            if is_file:
                _read(content, memory, s.offset, s.end)
            container.compare_checksum(self.data, s)
        self._pending: list[_Background] = [_Large(content, memory, s) for s in large]
        if sha256 is not None and large:
            self._pending.append(_Digest(self.data, sha256, self._pending[:]))
        elif sha256 is not None:
            compare_digest(self.data, sha256)
        try:
            self._read()
        except BaseException:
            self.wait()  # damage goes before what it may have led to
            raise
        if wait:
            self.wait()

    def wait(self) -> None:
        """Waits until every section is read and compared, and the digest.  Without it ``data``, constants and host models must not be
        used.

        Raises:
            EnfFormatError: a checksum does not match, every time.
            OSError, MemoryError: as ``load``.
        """
        for work in self._pending:
            work.wait()

    def _read(self) -> None:
        for name, message in _MESSAGES.items():
            content = self.section(name)
            if len(content) > MAX_MESSAGE:
                raise EnfFormatError(
                    f"section '{name}' has {len(content)} bytes, more than {MAX_MESSAGE}", is_limit=True
                )
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


class Unwritten(Enf):
    """The program of sections that are not a file yet; what is in the constants nobody looks at, and has no part in it."""

    def __init__(self, sections: dict[str, bytes | Chunked]):
        self._contents = {
            name: range(content.size) if isinstance(content, Chunked) else memoryview(content)
            for name, content in sections.items()
        }
        models = sections["host_models"]
        self._models = dict(models.pieces) if isinstance(models, Chunked) else {0: models}
        self._read()

    def section(self, name: str) -> memoryview | range:
        """The bytes of a section, of a large one their numbers; empty where an optional section is missing."""
        return self._contents.get(name, memoryview(b""))

    def host_model(self, call: enf_pb2.HostCall) -> memoryview:
        """The bytes of a host cluster's model."""
        return memoryview(self._models[call.offset])[: call.size]


class _Background:
    """Work on a thread of its own; what fails there is tried again by who waits."""

    def __init__(self) -> None:
        self._is_done = False
        thread = threading.Thread(target=self._try, name="checksum", daemon=True)
        self._thread = thread if threads.start(thread) else None

    def wait(self) -> None:
        if self._thread is not None:
            self._thread.join()
        if not self._is_done:
            self._try_once()

    def _try(self) -> None:
        with suppress(Exception):
            self._try_once()

    def _try_once(self) -> None:
        self._work()
        self._is_done = True

    def _work(self) -> None:
        raise NotImplementedError


class _Large(_Background):
    """A section that is read and compared."""

    def __init__(self, content: Content, memory: memoryview, section: Section):
        self._content, self._memory, self._section = content, memory, section
        super().__init__()

    def _work(self) -> None:
        if isinstance(self._content, Part):
            _read(self._content, self._memory, self._section.offset, self._section.end)
        container.compare_checksum(self._memory, self._section)
        self._content = b""  # a file that is not needed any more


class _Digest(_Background):
    """The SHA-256 of the whole file, once every section is there."""

    def __init__(self, data: memoryview, sha256: str, sections: list[_Background]):
        self._data, self._sha256, self._sections = data, sha256, sections
        super().__init__()

    def _work(self) -> None:
        for section in self._sections:
            section.wait()
        compare_digest(self._data, self._sha256)


def _read(content: Part, memory: memoryview, start: int, end: int) -> None:
    """Reads a part of a file into the same place of memory."""
    content[start:end].read_into(memory[start:end])
    content.check()


def compare_digest(data: bytes | memoryview, sha256: str) -> None:
    """Compares the bytes of a file with the hex digest that somebody states of it.

    Raises:
        EnfFormatError: they are others.
    """
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise EnfFormatError(
            f"it is damaged or another file: its SHA-256 is {found}, and {sha256 or 'none'} is stated of it"
        )


def load(content: bytes | Content, *, wait: bool = True, sha256: str | None = None) -> Enf:
    """A verified program from bytes, which stay referenced, or from a file, of which it makes a copy.

    ``sha256`` is the hex digest that it has to have.  Without ``wait`` it may be returned before large sections are read and compared
    with their checksums, and all of it with the digest: see ``Enf.wait``.

    Raises:
        OSError: the file cannot be read, or FileChanged while it was read.
        MemoryError: there is no memory for the copy.
        EnfFormatError, EnfVerifyError: the file must not be run.
    """
    data = content if isinstance(content, Part) else memoryview(content).cast("B")
    return Enf(data, wait=wait, sha256=sha256)


def check(sections: dict[str, bytes | Chunked]) -> Unwritten:
    """Proves of the sections of a file, before it is written, what loading it proves.

    Raises:
        EnfFormatError, EnfVerifyError: nobody could load it.
    """
    return Unwritten(sections)


def load_file(path: str | os.PathLike[str]) -> Enf:
    """A verified program from a file, which is read once: what becomes of it later changes nothing.

    Raises:
        OSError: the file cannot be opened or read.
        MemoryError, EnfFormatError, EnfVerifyError: as ``load``.
    """
    content = files.open_file(path)
    if not content:
        raise EnfFormatError("not an ENF: the file is empty")
    return load(content)
