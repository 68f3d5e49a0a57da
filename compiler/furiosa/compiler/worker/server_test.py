"""The worker as Bazel drives it: a process, requests on its stdin, responses on its stdout."""

from __future__ import annotations

import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.proto import parse_length_prefixed, serialize_length_prefixed

from furiosa.compiler.cli.main import main
from furiosa.compiler.frontend.onnx.testing import model
from furiosa.compiler.worker import memory
from furiosa.compiler.worker.worker_protocol_pb2 import WorkRequest, WorkResponse


class Worker:
    """A worker process; requests are dictionaries of the JSON encoding, whatever the encoding on the wire."""

    def __init__(
        self,
        protocol: str,
        folder: Path,
        command: str = "from furiosa.compiler.cli.main import main",
        flags: tuple[str, ...] = (),
    ):
        code = f"import sys; {command}; sys.exit(main())"
        self.protocol = protocol
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *flags, "--persistent_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )

    def send(self, **fields: object) -> None:
        if self.protocol == "json":
            data = json.dumps(fields).encode() + b"\n"
        else:
            out = io.BytesIO()
            message = WorkRequest(
                arguments=fields.get("arguments", []),
                request_id=fields.get("requestId", 0),
                cancel=fields.get("cancel", False),
                sandbox_dir=fields.get("sandboxDir", ""),
            )
            serialize_length_prefixed(message, out)
            data = out.getvalue()
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def receive(self) -> dict[str, object]:
        if self.protocol == "json":
            return json.loads(self.process.stdout.readline())
        message = parse_length_prefixed(WorkResponse, self.process.stdout)
        return {
            "exitCode": message.exit_code,
            "output": message.output,
            "requestId": message.request_id,
            "wasCancelled": message.was_cancelled,
        }

    def close(self) -> int:
        self.process.stdin.close()
        status = self.process.wait(30)
        self.process.stdout.close()
        self.process.stderr.close()
        return status


@pytest.fixture(params=["json", "proto"])
def worker(request: pytest.FixtureRequest, tmp_path: Path, quantized_model: bytes) -> Iterator[Worker]:
    (tmp_path / "model.onnx").write_bytes(quantized_model)
    w = Worker(request.param, tmp_path)
    yield w
    if w.process.poll() is None:
        w.process.kill()
    w.process.wait(30)


def compile_to(output: str) -> list[str]:
    return ["compile", "model.onnx", "-o", output]


def test_the_same_bytes_as_one_process_each(worker: Worker, tmp_path: Path) -> None:
    assert main(["compile", str(tmp_path / "model.onnx"), "-o", str(tmp_path / "alone.enf")]) == 0
    for i in range(3):
        worker.send(arguments=compile_to(f"{i}.enf"))
        assert worker.receive() == {"exitCode": 0, "output": "", "requestId": 0, "wasCancelled": False}
        assert (tmp_path / f"{i}.enf").read_bytes() == (tmp_path / "alone.enf").read_bytes()
    assert worker.close() == 0


def test_a_request_that_forks_itself(worker: Worker, tmp_path: Path) -> None:
    """`furiosa tune`, whose compilations run in children of the request's process: the same bytes, and none stays when cancelled."""
    tune = ["tune", "model.onnx", "--batch-sizes", "1,2,3"]
    alone = tmp_path / "alone.json"
    assert main(["tune", str(tmp_path / "model.onnx"), *tune[2:], "-o", str(alone)]) == 0
    worker.send(arguments=[*tune, "-o", "a.json"])
    assert worker.receive() == {"exitCode": 0, "output": "", "requestId": 0, "wasCancelled": False}
    assert (tmp_path / "a.json").read_bytes() == alone.read_bytes()
    many = ",".join(map(str, range(1000, 1060)))
    worker.send(arguments=["tune", "model.onnx", "--batch-sizes", many, "-o", "b.json"], requestId=1)
    time.sleep(0.3)  # until it has begun
    worker.send(cancel=True, requestId=1)
    answer = worker.receive()
    assert answer["wasCancelled"] and answer["requestId"] == 1
    assert worker.close() == 0
    assert not (tmp_path / "b.json").exists()


def test_requests_side_by_side_each_in_its_folder(worker: Worker, tmp_path: Path) -> None:
    for i in range(1, 9):
        sandbox = tmp_path / "sandboxes" / str(i)
        sandbox.mkdir(parents=True)
        (sandbox / "model.onnx").write_bytes(
            model(f"g (float[1,{i}] x) => (float[1,{i}] y) {{ y = Relu(x) }}")
        )
        worker.send(arguments=compile_to("out.enf"), requestId=i, sandboxDir=f"sandboxes/{i}")
    answers = [worker.receive() for _ in range(8)]
    assert sorted(a["requestId"] for a in answers) == list(range(1, 9))
    assert {a["exitCode"] for a in answers} == {0}, answers
    assert all("nothing runs on the NPU" in a["output"] for a in answers)
    assert len({(tmp_path / "sandboxes" / str(i) / "out.enf").read_bytes() for i in range(1, 9)}) == 8
    assert worker.close() == 0


def test_argument_files(worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "args").write_text("\n".join(compile_to("out.enf")) + "\n")
    worker.send(arguments=["@args"])
    assert worker.receive()["exitCode"] == 0
    assert (tmp_path / "out.enf").exists()


def test_failures_are_answered_and_harm_nobody(
    worker: Worker, tmp_path: Path, quantized_model: bytes
) -> None:
    (tmp_path / "broken.onnx").write_bytes(quantized_model[:-40])
    for arguments, words in (
        (["compile", "broken.onnx"], "ERROR: broken.onnx: "),
        (["compile", "missing.onnx"], "missing.onnx"),
        (["nonsense"], "unknown command 'nonsense'"),
        (["@missing"], "cannot read the argument file"),
        ([], "no command is given"),
    ):
        worker.send(arguments=arguments, requestId=5)
        answer = worker.receive()
        assert answer["exitCode"] != 0 and words in answer["output"] and answer["requestId"] == 5, answer
    assert not list(tmp_path.glob("*.enf"))
    worker.send(arguments=compile_to("out.enf"))
    assert worker.receive()["exitCode"] == 0


def stood_in(folder: Path, module: str) -> str:
    """The code that finds ``main`` of a module that is in the compiler's place."""
    (folder / "stand_in.py").write_text(module)
    return "sys.path.insert(0, '.'); from stand_in import main"


@pytest.mark.parametrize("protocol", ["json", "proto"])
def test_a_command_that_crashes_or_never_ends(protocol: str, tmp_path: Path) -> None:
    """In place of the compiler a command that does as its argument says; one that hangs is cancelled, and others go on."""
    stand_in = """
import os, signal, sys, time
from furiosa.compiler.worker import server
def command(arguments):
    if arguments == ["crash"]: os.kill(os.getpid(), signal.SIGSEGV)
    if arguments == ["raise"]: raise ValueError("odd")
    if arguments == ["hang"]: time.sleep(600)
    if arguments == ["talk"]: os.write(1, b"x" * 5_000_000)
    if arguments == ["stubborn"]: signal.signal(signal.SIGINT, signal.SIG_IGN); os.write(1, b"deaf"); time.sleep(600)
    return 0
def main():
    server.PATIENCE = 0.5
    return server.main(command, [])
"""
    w = Worker(protocol, tmp_path, stood_in(tmp_path, stand_in))
    w.send(arguments=["hang"], requestId=1)
    w.send(arguments=["stubborn"], requestId=2)
    w.send(arguments=["crash"], requestId=3)
    answer = w.receive()
    assert (answer["requestId"], answer["exitCode"]) == (3, 128 + signal.SIGSEGV)
    assert "SIGSEGV" in answer["output"]
    w.send(arguments=["raise"], requestId=4)
    assert "internal error, ValueError (odd)" in w.receive()["output"]
    w.send(arguments=["talk"], requestId=5)
    assert len(w.receive()["output"]) == 1 << 20
    time.sleep(0.5)  # until the stubborn one no longer hears
    w.send(cancel=True, requestId=1)
    w.send(cancel=True, requestId=2)
    w.send(cancel=True, requestId=99)  # nobody: ignored
    answers = {(a := w.receive())["requestId"]: a for _ in range(2)}
    assert answers[1]["wasCancelled"] and answers[2]["wasCancelled"]
    w.send(arguments=["well"], requestId=6)
    assert w.receive()["exitCode"] == 0
    w.send(arguments=["hang"], requestId=7)
    assert w.close() == 0, "the build is over: what still runs is ended"


@pytest.mark.parametrize(
    ("protocol", "data"),
    [
        ("json", b'{"what?\n'),
        ("json", b'{"arguments": [1]}\n'),
        ("json", b'{"requestId": -1}\n'),
        ("json", b'{"a":' + b"[" * 100_000 + b"\n"),
        ("proto", b"\x03abc"),
        ("proto", b"\xff" * 12),
        ("proto", b"\xff\xff\xff\xff\x7f"),
    ],
)
def test_a_stream_that_is_no_request_ends_the_worker(protocol: str, data: bytes, tmp_path: Path) -> None:
    w = Worker(protocol, tmp_path)
    out, err = w.process.communicate(data, timeout=60)
    assert (w.process.returncode, out) == (255, b"")
    assert err.startswith(b"ERROR: worker: ") and err.count(b"\n") == 1


@pytest.mark.skipif(not os.path.exists("/proc/self/oom_score_adj"), reason="Linux alone has such scores")
def test_where_memory_runs_out_a_request_goes_before_its_worker(tmp_path: Path) -> None:
    """What is asked is the score by which the kernel chooses, which counts memory and the adjustment."""
    stand_in = """
import os, sys
from furiosa.compiler.worker import server
def command(arguments):
    for process in os.getppid(), os.getpid():
        print(open(f"/proc/{process}/oom_score_adj").read().strip(), open(f"/proc/{process}/oom_score").read().strip())
    return 0
def main(): return server.main(command, sys.argv[1:-1])
"""
    own = int(Path("/proc/self/oom_score_adj").read_text())
    w = Worker("json", tmp_path, stood_in(tmp_path, stand_in))
    w.send(arguments=["scores"])
    worker, request = ([int(n) for n in line.split()] for line in w.receive()["output"].splitlines())
    assert worker[0] == own and request[0] == min(own + memory.MORE_LIKELY, 1000)
    assert request[1] > worker[1] or own == 1000
    assert w.close() == 0


def test_a_request_that_needs_too_much_memory(tmp_path: Path) -> None:
    """At once, piece by piece, and in native code, which gives up with a signal; others go on."""
    stand_in = """
import os, sys
from furiosa.compiler.worker import server
def command(arguments):
    if arguments == ["at once"]: bytearray(1 << 30)
    if arguments == ["by and by"]: kept = [bytearray(b"x" * (1 << 20)) for _ in range(1 << 10)]
    if arguments == ["native"]:
        try: kept = [bytearray(b"x" * (1 << 20)) for _ in range(1 << 10)]
        except MemoryError: os.abort()
    if arguments == ["swallowed"]:
        try: kept = [bytearray(b"x" * (1 << 20)) for _ in range(1 << 10)]
        except MemoryError: return 4
    return 0
def main(): return server.main(command, sys.argv[1:-1])
"""
    w = Worker("json", tmp_path, stood_in(tmp_path, stand_in), ("--memory_mb=256",))
    advice = "256 MiB that its worker allows; --worker_extra_flag=NpuCompile=--memory_mb=N allows more\n"
    for argument, status, words in (
        ("at once", 13, "ERROR: the compiler needs more than the 256 MiB that its worker allows; --w"),
        ("by and by", 13, "ERROR: the compiler needs more than the 256 MiB that its worker allows; --w"),
        ("native", 128 + signal.SIGABRT, "ended by SIGABRT: out of memory, or an internal error"),
        ("swallowed", 4, "ERROR: the compiler had "),
    ):
        w.send(arguments=[argument])
        answer = w.receive()
        assert answer["exitCode"] == status and words in answer["output"], answer
        assert answer["output"].endswith(advice), answer
    w.send(arguments=["modest"])
    assert w.receive() == {"exitCode": 0, "output": "", "requestId": 0, "wasCancelled": False}
    assert w.close() == 0


@pytest.mark.parametrize(
    ("obstacle", "words"),
    [
        (
            "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 4096))",
            "ERROR: worker: no process: Too many open files\n",
        ),
        ("os.fork = refuse", "ERROR: worker: no process: Cannot allocate memory\n"),
    ],
)
def test_a_request_that_no_process_can_take(obstacle: str, words: str, tmp_path: Path) -> None:
    """One that has a process goes on, and later ones find theirs."""
    stand_in = f"""
import errno, os, resource, signal, sys, time
from furiosa.compiler.worker import server
fork = os.fork
def refuse(): raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
def relieve(*_): os.fork = fork; resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
def command(arguments):
    if arguments == ["hang"]: time.sleep(600)
    return 0
class Server(server._Server):
    def _accept(self, request):
        if request.arguments == ["obstacle"]: {obstacle}
        super()._accept(request)
        relieve()
server._Server = Server
def main(): return server.main(command, [])
"""
    w = Worker("json", tmp_path, stood_in(tmp_path, stand_in))
    w.send(arguments=["hang"], requestId=1)
    w.send(arguments=["obstacle"], requestId=2)
    answer = w.receive()
    assert (answer["requestId"], answer["exitCode"], answer["output"]) == (2, 255, words)
    w.send(requestId=3)
    assert w.receive()["exitCode"] == 0
    assert w.close() == 0


def test_what_a_killed_command_left_is_removed(tmp_path: Path) -> None:
    """Its temporary files and folders, wherever they are; nothing that was there."""
    stand_in = """
import os, signal
from furiosa.compiler.worker import server
from furiosa.enf import outputs
def command(arguments):
    with outputs.Outputs() as made, outputs.temporary_folder("folder"):
        made.open("old").write(b"half")
        made.open("elsewhere/new").write(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
def main(): return server.main(command, [])
"""
    for folder in (tmp_path, tmp_path / "sandbox"):
        (folder / "elsewhere").mkdir(parents=True)
        (folder / "old").write_bytes(b"old")
    w = Worker("json", tmp_path, stood_in(tmp_path, stand_in))
    for sandbox in ("", "sandbox"):
        w.send(arguments=[], sandboxDir=sandbox)
        assert "SIGKILL" in w.receive()["output"]
    assert w.close() == 0
    for folder in (tmp_path, tmp_path / "sandbox"):
        assert not [p for p in folder.rglob("*") if p.name.startswith(".furiosa")]
        assert (folder / "old").read_bytes() == b"old"


def test_a_cancelled_command_has_a_result_or_was_cancelled(tmp_path: Path) -> None:
    """However its end and the cancellation race: one answer to each request, and no other word of the worker."""
    stand_in = """
import pathlib, signal, time
from furiosa.compiler.worker import server
def command(arguments):
    if arguments == ["deaf"]:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        pathlib.Path("ready").touch()
        while not pathlib.Path("go").exists(): time.sleep(0.01)
    else:
        time.sleep(float(arguments[0]))
    print("done")
    return 3
def main(): return server.main(command, [])
"""
    w = Worker("json", tmp_path, stood_in(tmp_path, stand_in))
    w.send(arguments=["deaf"], requestId=1)
    while not (tmp_path / "ready").exists():
        time.sleep(0.01)
    w.send(cancel=True, requestId=1)
    w.send(arguments=["0"], requestId=99)
    assert w.receive()["requestId"] == 99, "the cancellation was heard before"
    (tmp_path / "go").touch()
    assert w.receive() == {"exitCode": 3, "output": "done\n", "requestId": 1, "wasCancelled": False}
    answers = {}
    for i in range(2, 42):
        w.send(arguments=[str(i % 5 / 500)], requestId=i)
        time.sleep(i % 7 / 700)
        w.send(cancel=True, requestId=i)
        answers[i] = w.receive()
    done = {"exitCode": 3, "output": "done\n", "wasCancelled": False}
    cancelled = {"exitCode": 0, "output": "", "wasCancelled": True}
    assert [
        a for i, a in answers.items() if a not in ({**done, "requestId": i}, {**cancelled, "requestId": i})
    ] == []
    w.process.stdin.close()
    assert w.process.wait(30) == 0 and w.process.stderr.read() == b""


@pytest.mark.parametrize("moment", range(6))
def test_the_end_of_a_build_at_any_moment(tmp_path: Path, moment: int) -> None:
    """SIGTERM, its repetition or the end of the input while children start and end: no word, and no child stays."""
    stand_in = """
import time
from furiosa.compiler.worker import server
def command(arguments): time.sleep(float(arguments[0])); return 0
def main(): return server.main(command, [])
"""
    w = Worker("json", tmp_path, stood_in(tmp_path, stand_in))
    w.send(arguments=["0"])
    w.receive()  # it is warm
    for i in range(1, 9):
        w.send(arguments=[str(i / 100)], requestId=i)
    time.sleep(moment / 100)
    if moment % 2:
        w.process.stdin.close()
    else:
        for _ in range(3):
            w.process.send_signal(signal.SIGTERM)
    assert w.process.wait(30) in (0, 130)
    assert w.process.stderr.read() == b""


def test_a_compilation_that_needs_too_much_memory(tmp_path: Path, quantized_model: bytes) -> None:
    """A file far larger than the limit and than what the warm process may have to spare."""
    field = b"\x32" + b"\x80\x80\x80\x10"  # ModelProto.doc_string of 32 MiB
    (tmp_path / "model.onnx").write_bytes(quantized_model + field + b"x" * (32 << 20))
    w = Worker("proto", tmp_path, flags=("--memory_mb=1",))
    for _ in range(2):
        w.send(arguments=compile_to("out.enf"), requestId=3)
        answer = w.receive()
        assert (answer["exitCode"], answer["requestId"]) == (13, 3)
        # how far it gets depends on what the process has to spare
        assert re.search(
            "not enough memory within the limit of 1 MiB|needs more than the 1 MiB",
            answer["output"],
        ), answer
    assert not list(tmp_path.glob("*.enf*"))
    assert w.close() == 0


@pytest.mark.parametrize("protocol", ["json", "proto"])
def test_a_worker_that_has_grown_begins_anew_unnoticed(
    protocol: str, tmp_path: Path, quantized_model: bytes
) -> None:
    """With a bound below what it has at the start it does so after every request; Bazel goes on sending meanwhile."""
    (tmp_path / "model.onnx").write_bytes(quantized_model)
    stand_in = """
from furiosa.compiler.cli.main import main
open("starts", "a").write("x")
"""
    w = Worker(protocol, tmp_path, stood_in(tmp_path, stand_in), ("--recycle_mb=1",))
    for i in range(1, 4):
        w.send(arguments=compile_to(f"{i}.enf"), requestId=i)
        assert w.receive() == {"exitCode": 0, "output": "", "requestId": i, "wasCancelled": False}
    for i in range(4, 12):
        w.send(arguments=compile_to(f"{i}.enf"), requestId=i)
    answers = [w.receive() for _ in range(4, 12)]
    assert sorted(a["requestId"] for a in answers) == list(range(4, 12))
    assert {a["exitCode"] for a in answers} == {0}
    assert len({(tmp_path / f"{i}.enf").read_bytes() for i in range(1, 12)}) == 1
    w.process.stdin.close()
    assert w.process.wait(30) == 0
    assert (tmp_path / "starts").stat().st_size >= 4
    assert w.process.stderr.read() == b""


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--memory_mb=0", "--memory_mb is '0', but must be a number of MiB from 1"),
        ("--memory_mb=x", "--memory_mb is 'x'"),
        ("--recycle_mb=99999999999999999999", "--recycle_mb is '9"),
        ("--recycle_mb", "--recycle_mb is ''"),
        ("--nonsense", "unknown flag '--nonsense', known: --memory_mb=N, --recycle_mb=N"),
    ],
)
def test_a_flag_that_a_worker_does_not_take(flag: str, words: str, tmp_path: Path) -> None:
    w = Worker("json", tmp_path, flags=(flag,))
    out, err = w.process.communicate(timeout=60)
    assert (w.process.returncode, out) == (255, b"")
    assert err.startswith(b"ERROR: worker: ") and words in err.decode() and err.count(b"\n") == 1


def test_the_limits_where_nobody_names_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    group = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "CGROUPS", (tmp_path / "missing", group))
    group.write_text("max\n")
    physical = memory.machine()
    assert memory.limits([]) == (physical // 2 // memory.MIB * memory.MIB, 512 * memory.MIB)
    group.write_text(f"{64 * memory.MIB}\n")
    assert memory.limits([]) == (32 * memory.MIB, 512 * memory.MIB)
    assert memory.limits(["--recycle_mb=3", "--memory_mb=5"]) == (5 * memory.MIB, 3 * memory.MIB)


def test_memory_does_not_grow(tmp_path: Path, quantized_model: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(quantized_model)
    w = Worker("json", tmp_path)

    def resident() -> int:
        with open(f"/proc/{w.process.pid}/statm", encoding="ascii") as f:
            return int(f.read().split()[1]) * resource.getpagesize()

    def run(count: int) -> None:
        for _ in range(count):
            w.send(arguments=compile_to("out.enf"))
            assert w.receive()["exitCode"] == 0

    run(5)
    before = resident()
    run(200)
    assert resident() - before < 1 << 20
    assert w.close() == 0


def test_children_find_everything_imported(tmp_path: Path, quantized_model: bytes) -> None:
    """What a compilation imports beyond the warm-up, every child would import again."""
    (tmp_path / "model.onnx").write_bytes(quantized_model)
    code = """
import sys
from furiosa.compiler.cli.main import main
from furiosa.compiler.worker import server
server.warm_up()
before = set(sys.modules)
main(["compile", "model.onnx", "--report-json", "r.json", "--dot-graph", "g.dot"])
print(*(m for m in set(sys.modules) - before if m.split(".")[0] in ("furiosa", "numpy", "google", "onnx")))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.stdout.split() == []
