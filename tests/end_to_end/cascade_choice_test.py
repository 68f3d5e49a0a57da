"""What is proposed to run part by part: only where SRAM is too small, and so that it fits."""

from __future__ import annotations

from itertools import pairwise

import pytest

from furiosa.compiler.gir import fit as fit_module
from furiosa.compiler.gir.fit import Fit
from furiosa.compiler.gir.groups import Choice, in_sram, through_dram
from furiosa.compiler.gir.residents import Residents
from furiosa.compiler.gir.tiler import Tiler
from furiosa.compiler.lir.segment import order, placed
from furiosa.compiler.pipeline import Compilation, Options


def _tiler(model: bytes, batch: int, sram: int) -> Tiler:
    c = Compilation(model, Options("warboy", batch)).run("gir")
    (cluster,) = (cluster for cluster in c.cdfg if cluster.kind == "npu")
    target = c.target._replace(sram_bytes_per_slice=sram // c.target.slices)
    return Tiler(cluster, target, c.pool, c.dram, Residents())


def _choices(tiler: Tiler, room: int) -> list[Choice]:
    fit = Fit(tiler, room)
    beyond = through_dram(fit, set())
    return [*in_sram(fit), *([beyond] if beyond else [])]


def test_none_where_everything_fits(tiny_model: bytes) -> None:
    tiler = _tiler(tiny_model, 1, 1 << 20)
    assert Fit(tiler, 1 << 20).crowded() == []
    assert _choices(tiler, 1 << 20) == []


@pytest.mark.parametrize(("batch", "sram"), [(8, 128 << 10), (16, 256 << 10), (32, 256 << 10), (4, 80 << 10)])
def test_what_is_proposed_fits(batch: int, sram: int, tiny_model: bytes) -> None:
    tiler = _tiler(tiny_model, batch, sram)
    choices = _choices(tiler, sram * 7 // 8)
    assert choices
    for spilled, cascades in choices:
        assert all(a.last < b.first for a, b in pairwise(cascades))
        assert all(c.parts > 1 for c in cascades)
        segment = placed(tiler, order(tiler.tile(spilled, cascades)))
        assert segment is not None and segment.sram_peak <= sram


def test_the_fewest_parts(tiny_model: bytes) -> None:
    """With more room never more parts; each part has a share of the samples first."""
    tiler = _tiler(tiny_model, 16, 1 << 20)
    parts = [Fit(tiler, room << 10).fewest_parts(2, 4, set()) for room in (900, 400, 300, 260, 240)]
    assert parts == sorted(parts) and parts[0] == 2 and parts[-1] > 4


def test_no_parts_where_whole_tensors_leave_no_room(tiny_model: bytes) -> None:
    tiler = _tiler(tiny_model, 16, 1 << 20)
    assert Fit(tiler, 64 << 10).fewest_parts(2, 4, set()) == 0


def test_the_search_is_bounded(tiny_model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all effort is used up no more is proposed, and the program is what it is without."""
    monkeypatch.setattr(fit_module, "_EFFORT", 40)
    tiler = _tiler(tiny_model, 8, 128 << 10)
    fit = Fit(tiler, 126 << 10)
    assert list(in_sram(fit)) == [] and fit.is_exhausted
    assert through_dram(fit, set()) is None
