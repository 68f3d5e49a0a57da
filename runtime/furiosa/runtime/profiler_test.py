"""The profiler: what it records and when, on which clock, and what becomes of it."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from itertools import pairwise

import numpy as np
import pytest

from furiosa.enf.testing.programs import resident
from furiosa.enf.testing.traces import rows_of
from furiosa.runtime import recording, session
from furiosa.runtime.errors import InvalidSessionOption, ModelExecutionFailed
from furiosa.runtime.profile_text import percentile
from furiosa.runtime.profiler import Profiler, RecordFormat, Resource, profile
from furiosa.runtime.testing import own_path
from furiosa.runtime.testing.enf_files import descriptor, host_enf, onnx_model, table_enf

X = np.arange(64, dtype=np.int8).reshape(1, 1, 1, 64)
NPU = ["Inference", "WaitForWorker", "WriteToDram", "SimulateNpu", "ReadFromDram"]


@pytest.fixture(autouse=True)
def no_wish_in_the_environment(monkeypatch):
    for name in ("FURIOSA_DEVICES", "NPU_DEVNAME", "FURIOSA_PROFILER_OUTPUT_PATH"):
        monkeypatch.delenv(name, raising=False)
    yield
    assert recording.active == ()


@pytest.fixture
def sess():
    with session.create(table_enf()) as s:
        yield s


def names(profiler: Profiler) -> list[str]:
    return [span.name for span in profiler.spans]


def on_the_host(reshape_to: int = 4) -> bytes:
    """An ENF of one host cluster; it fails where 4 numbers cannot be reshaped like that."""
    x, y = descriptor("x", "float32", (4,)), descriptor("y", "float32", (4,))
    nodes = [
        ("Constant", [], ["s"], {"value_ints": [reshape_to]}),
        ("Reshape", ["x", "s"], ["r"], {}),
        ("Identity", ["r"], ["y"], {}),
    ]
    model = onnx_model(nodes, {"x": ("float32", ["n"])}, {"y": ("float32", None)})
    return host_enf("onnx", model, [x], [y])


def test_nothing_is_recorded_where_nobody_records(sess, monkeypatch):
    def never(*_):
        raise AssertionError

    monkeypatch.setattr(recording, "run", never)
    assert sess.run(X)[0] == -1 - X
    with profile(), pytest.raises(AssertionError):
        sess.run(X)
    assert sess.run(X)[0] == -1 - X


def test_an_inference_and_its_parts(sess):
    sess.run(X)
    with profile() as profiler:
        assert sess.run(X)[0] == -1 - X
    sess.run(X)
    assert names(profiler) == NPU
    whole, *parts = profiler.spans
    assert all(whole.start <= p.start <= p.end <= whole.end for p in parts)
    assert all(a.end <= b.start for a, b in pairwise(parts))
    assert profiler.inferences == [whole]
    assert profiler.recorder.totals["SimulateNpu"] == parts[2].end - parts[2].start


def test_one_session_or_all(sess):
    with (
        session.create(table_enf(elements=64, batch_size=2)) as other,
        sess.profile() as own,
        profile() as everything,
    ):
        sess.run(X)
        other.run(X)
    assert len(own.inferences) == 1 and len(everything.inferences) == 2
    assert len(own.recorder.programs) == 1 and len(everything.recorder.programs) == 2


def test_a_host_cluster():
    x = np.arange(4, dtype=np.float32)
    with session.create(on_the_host()) as s, s.profile() as profiler:
        assert np.array_equal(s.run(x)[0].numpy(), x)
    assert names(profiler)[3] == "HostCluster"
    assert profiler.spans[3].args == {"execution_index": 0, "format": "onnx", "estimated_us": 0.0}


def test_names_that_a_program_gives_are_not_taken_for_inferences(sess):
    with profile() as profiler:
        for name in ("Inference", "SimulateNpu"):
            with profiler.record(name):
                pass
        sess.run(X)
    assert len(profiler.inferences) == 1
    simulated = [s for s in profiler.spans if s.args.get("commands")]
    assert profiler.recorder.totals["SimulateNpu"] == sum(s.end - s.start for s in simulated)


def test_setup_is_a_span_of_the_first_inference_of_each_worker():
    with session.create(resident().to_bytes(), worker_num=2) as s, s.profile() as profiler:
        s.warm_up(X)
        s.run(X)
    first = [*NPU[:2], "Setup", *NPU[2:]]
    assert names(profiler) == [*first, *first, *NPU]
    text = io.StringIO()
    profiler.export_chrome_trace(text)
    processes, _, rows = rows_of(text.getvalue())
    assert ["simulated, setup" in processes[2], "simulated, one run" in processes[3]] == [True, True]
    commands = [[e for row, events in rows.items() if row[0] == pid for e in events] for pid in (2, 3)]
    assert [e["name"] for e in commands[0]] == ["LOAD"]
    assert {"LOAD", "TABLE_LOOKUP", "STORE"} <= {e["name"] for e in commands[1]}


def test_an_inference_that_fails():
    with session.create(on_the_host(reshape_to=3)) as s, s.profile() as profiler:
        with pytest.raises(ModelExecutionFailed):
            s.run(np.zeros(4, np.float32))
        assert names(profiler) == ["Inference", "WaitForWorker", "WriteToDram", "HostCluster"]


def test_pause_and_resume(sess):
    with profile() as profiler:
        profiler.pause()
        with profiler.record("unseen"):
            sess.run(X)
        profiler.resume()
        sess.run(X)
    assert names(profiler) == NPU


def test_a_trace_of_all(sess, tmp_path):
    """Measured and simulated time are processes of their own, each named after its clock."""
    path = tmp_path / "trace.json"
    with profile(file=path) as profiler, profiler.record("warm up"):
        sess.run(X)
        threads = [threading.Thread(target=sess.run, args=(X,), name=f"t{i}") for i in range(2)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    processes, threads, rows = rows_of(path.read_text("ascii"))
    assert processes == {
        1: "measured on this machine, on which the NPU is simulated in software: no NPU time (host)",
        2: "simulated, one run (an estimate): the model on warboy, batch size 1",
    }
    assert {name for (pid, _), name in threads.items() if pid == 1} == {"MainThread", "t0", "t1"}
    main = next(row for row, name in threads.items() if name == "MainThread")
    assert [e["name"] for e in rows[main]] == ["warm up", *NPU]
    by_name = {threads[row]: events for row, events in rows.items() if row[0] == 2}
    assert [e["name"] for e in by_name["DMA load"]] == ["LOAD", "LOAD"]  # one run, however many there were
    ends = [e["ts"] + e["dur"] for events in by_name.values() for e in events]
    assert max(ends) == pytest.approx(sess.performance().latency_us, abs=1e-3)


@pytest.mark.parametrize(
    ("resource", "pids"), [(Resource.ALL, {1, 2}), (Resource.CPU, {1}), (Resource.NPU, {2})]
)
def test_resources(sess, resource, pids):
    text, binary = io.StringIO(), io.BytesIO()
    with profile(resource, file=text) as profiler:
        sess.run(X)
    profiler.export_chrome_trace(binary)
    assert binary.getvalue().decode("ascii") == text.getvalue()
    assert set(rows_of(text.getvalue())[0]) == pids
    clocks = {row["clock"] for row in profiler.rows()}
    assert clocks == {{1: "measured", 2: "simulated"}[pid] for pid in pids}


def test_rows(sess):
    with profile(format=RecordFormat.PandasDataFrame) as profiler, profiler.record("mine"):
        sess.run(X)
        sess.run(X)
    rows = profiler.rows()
    measured = [r for r in rows if r["clock"] == "measured"]
    assert [(r["trace_id"], r["parent_span_id"], r["span_id"], r["name"]) for r in measured] == [
        *((1, 1 if i else 0, 1 + i, name) for i, name in enumerate(NPU)),
        *((2, 6 if i else 0, 6 + i, name) for i, name in enumerate(NPU)),
        (0, 0, 11, "mine"),
    ]
    simulated = [r for r in rows if r["clock"] == "simulated"]
    assert [r["instruction_index"] for r in simulated] == [0, 1, 2, 3]
    assert all(r["dur"] == r["end"] - r["start"] >= 0 for r in rows)


def test_a_data_frame_needs_pandas(sess, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with profile() as profiler:
        sess.run(X)
    with pytest.raises(InvalidSessionOption, match="pandas, which is not installed"):
        profiler.get_pandas_dataframe()


def test_a_data_frame(sess):
    pytest.importorskip("pandas", reason="pandas is optional; the extra test has it")
    with profile() as profiler:
        sess.run(X)
    frame = profiler.get_pandas_dataframe()
    assert len(frame) == len(NPU) + 4 and {"trace_id", "span_id", "dur", "cat", "name"} <= set(frame.columns)
    assert list(profiler.get_cpu_pandas_dataframe()["name"]) == NPU
    assert len(profiler.get_npu_pandas_dataframe()) == 4
    assert len(profiler.get_pandas_dataframe_with_filter("name", "LOAD")) == 2


def test_no_more_spans_are_kept_than_allowed(sess):
    recorder = recording.Recorder(keep=7)
    recording.start(recorder)
    sess.run(X)
    sess.run(X)
    recording.stop(recorder)
    assert len(recorder.spans) == 7 and recorder.dropped == 3
    single = [s.end - s.start for s in recorder.spans if s.name == "Inference"]
    assert recorder.totals["Inference"] == sum(single)


def test_what_is_printed(sess, capsys):
    with profile() as profiler:
        sess.run(X)
        sess.run(X)
    profiler.print_summary()
    out = capsys.readouterr().out
    assert "Inference counts" in out and ": 2\n" in out and "99.9th percentile latency (ns)" in out
    measured, simulated = out.split("the model on warboy, batch size 1")
    assert "no NPU time" in measured and "an estimate" in simulated and "an estimate" not in measured
    profiler.print_inferences()
    assert len(capsys.readouterr().out.splitlines()) == 4
    profiler.print_npu_operators()
    assert capsys.readouterr().out.startswith("NPU operators of the model on warboy, batch size 1, simulated")
    profiler.print_npu_executions()
    head, _, row = capsys.readouterr().out.splitlines()
    assert head.startswith("NPU executions of the model on warboy, batch size 1, simulated")
    *counts, duration = row.split()
    assert counts == ["0", "4"]
    assert float(duration) == pytest.approx(sess.performance().npu_us, abs=0.001)
    profiler.print_external_operators()
    assert len(capsys.readouterr().out.splitlines()) == 2
    with profile() as empty:
        pass
    empty.print_summary()
    assert "Inference counts : 0\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("percent", "value"), [(50, 20), (75, 30), (76, 40), (99.9, 40), (0, 10), (25, 10), (25.1, 20)]
)
def test_percentiles_are_values_that_occurred(percent, value):
    assert percentile([10, 20, 30, 40], percent) == value


def test_bad_options(tmp_path):
    with pytest.raises(InvalidSessionOption, match="there is no folder"):
        profile(file=tmp_path / "no" / "t.json")
    with pytest.raises(InvalidSessionOption, match="writes no file"):
        profile(format=RecordFormat.PandasDataFrame, file="t.json")
    with pytest.raises(ValueError, match="gpu"):
        profile("gpu")


PROGRAM = """
import numpy as np
from furiosa.runtime import session
x = np.zeros((1, 1, 1, 64), np.int8)
for _ in range(2):
    with session.create("m.enf") as s:
        s.run(x)
"""


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("trace.json", ""),
        ("", "FURIOSA_PROFILER_OUTPUT_PATH is empty: set it to a path, or unset it"),
        ("no/trace.json", "there is no folder"),
    ],
)
def test_a_whole_process_by_its_environment(tmp_path, path, sentence):
    (tmp_path / "m.enf").write_bytes(table_enf())
    env = own_path() | {"FURIOSA_PROFILER_OUTPUT_PATH": path}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, cwd=tmp_path, env=env, check=False, capture_output=True, text=True)
    assert (done.returncode == 0) == (not sentence) and sentence in done.stderr
    if not sentence:
        processes, _, rows = rows_of((tmp_path / path).read_text("ascii"))
        assert len(processes) == 2  # the host, and the program of both sessions
        (events,) = [events for (pid, _), events in rows.items() if pid == 1]
        assert [e["name"] for e in events] == 2 * NPU


def test_an_asynchronous_session(sess):
    submitter, queue = session.create_async(table_enf(), worker_num=2)
    with profile() as profiler, submitter, queue:
        for i in range(4):
            submitter.submit(X, i)
        assert sorted(queue.recv()[0] for _ in range(4)) == [0, 1, 2, 3]
    assert len(profiler.inferences) == 4
