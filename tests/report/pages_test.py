"""The pages in a real browser: the plots are drawn, keys and mouse work, nothing is fetched, nothing is complained of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from generator.__main__ import build

from furiosa.compiler.cli.main import main
from furiosa.enf.machine import Engine
from furiosa.enf.performance import analyze_enf
from furiosa.enf.report import html
from furiosa.enf.report.program import of_enf
from furiosa.enf.report.timeline import Timeline
from furiosa.enf.testing.programs import Program, const, sram
from furiosa.enf.testing.reports import HOSTILE, host_and_npu, named, report
from tests.models import models
from tests.report.browser import Browser, find

pytestmark = pytest.mark.skipif(
    find() is None,
    reason="what a browser shows needs one: no Chromium on this machine; .ci/install_extras installs it",
)
COLOURS = {  # of page.css; small commands take most of their time to start, the part in the colour "idle"
    "light": {"idle": "169,180,198", "load": "31,149,135", "store": "209,138,31", "pcie": "133,96,189"},
    "dark": {"idle": "93,106,128", "load": "75,191,174", "store": "230,171,84", "pcie": "176,145,228"},
}
COMMANDS = 10_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as b:
        yield b


@pytest.fixture(scope="module")
def tiny(folder: Path) -> Path:
    """Pages of the tiny example network, as the command line writes them."""
    (folder / "tiny.onnx").write_bytes(build("tiny", "int8").SerializeToString(deterministic=True))
    return pages(folder, folder / "tiny.onnx")


def pages(folder: Path, model: Path) -> Path:
    page = folder / f"{model.name}.html"
    argv = ["compile", str(model), "-o", str(folder / "x.enf"), "--report", str(page)]
    assert main([*argv, "--analyze-memory", str(page.with_suffix(".memory.html"))]) == 0
    return page


@pytest.fixture(scope="module")
def hostile(folder: Path) -> Path:
    return written(folder / "hostile.html", host_and_npu())


@pytest.fixture(scope="module")
def large(folder: Path) -> Path:
    """A page of ten thousand commands and buffers."""
    p = Program()
    p.constants = bytes(64)
    for i in range(COMMANDS):
        at = i % 1000 * 64
        p.add("LOAD", Engine.LOAD, const(0, 1, 1, 1, 64), sram(at, 1, 1, 1, 64))
        p.sram.append((at, 64, i, i))
    p.debug.operators.add(name="op", op_type="Op", placed_on="npu")
    p.debug.command_operator.extend([0] * COMMANDS)
    return written(folder / "large.html", p)


def written(path: Path, program: Program) -> Path:
    enf = program.load()
    path.write_bytes(html.page(named(enf), analyze_enf(enf), report(enf)))
    return path


def number_of_marks(browser: Browser, canvas: str) -> int:
    return int(browser.js(f"document.getElementById('{canvas}').dataset.marks"))


def assert_quiet(browser: Browser, page: Path) -> None:
    """No message in the console, and no request but that for the page."""
    assert browser.console == []
    assert browser.requests == [page.resolve().as_uri()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_plots_are_drawn(browser, tiny, scheme, width):
    """By what the script counts, by the pixels on the screen, in both colour schemes; no page is wider than its window."""
    browser.open(tiny, width, 1000, scheme)
    assert number_of_marks(browser, "lanes") > 10 and number_of_marks(browser, "memory") > 5
    assert browser.js("document.querySelectorAll('#roofline circle').length") > 3
    assert browser.js("document.querySelectorAll('#layers tbody tr').length") > 5
    assert browser.js("document.documentElement.scrollWidth") <= width
    assert_quiet(browser, tiny)
    browser.js("document.getElementById('time').scrollIntoView()")
    seen = browser.colours(browser.screenshot())
    most = max(seen, key=seen.get)
    assert (min(map(int, most.split(","))) > 200) == (scheme == "light")
    for lane, colour in COLOURS[scheme].items():
        assert seen.get(colour, 0) > (100 if lane == "idle" else 10), lane


def test_the_page_of_the_memory(browser, tiny):
    page = tiny.with_suffix(".memory.html")
    browser.open(page)
    assert number_of_marks(browser, "memory") > 5 and number_of_marks(browser, "lanes") > 10
    assert browser.js("document.querySelectorAll('#buffers tbody tr').length") > 5
    assert_quiet(browser, page)


def test_a_buffer_under_the_pointer(browser, tiny):
    """Tensor, cycles and addresses, as half-open ranges."""
    browser.open(tiny)
    browser.js("document.getElementById('memory').scrollIntoView()")
    left, top, width, height = browser.box("#memory")
    for part in range(1, 40):
        browser.move(left + width * part / 40, top + height * 0.8)
        if not browser.js("document.getElementById('tip').hidden"):
            break
    shown = browser.js("document.getElementById('tip').innerText")
    assert re.search(r"cycles \[[\d,]+, [\d,]+\)", shown)
    assert re.search(r"addresses \[[\d,]+, [\d,]+\)", shown)
    assert re.search(r"^\S.*\n.*(constant|activation).*bytes", shown)
    browser.move(2, 2)
    assert browser.js("document.getElementById('tip').hidden")


def test_a_finger(browser, tiny):
    """What is tapped stays selected when the finger has gone."""
    browser.open(tiny, 390, 800)
    browser.js("document.getElementById('memory').scrollIntoView()")
    left, top, width, height = browser.box("#memory")
    browser.tap(left + width * 0.6, top + height - 12)  # constants that stay, at the bottom
    assert "constant" in browser.js("document.getElementById('tip').innerText")
    assert not browser.js("document.getElementById('tip').hidden")


def test_zoom(browser, tiny):
    """Dragging shows a part, the button all of it again."""
    browser.open(tiny)
    browser.js("document.getElementById('time').scrollIntoView()")
    whole = number_of_marks(browser, "lanes")
    left, top, width, _ = browser.box("#lanes")
    browser.drag(left + width * 0.2, left + width * 0.4, top + 40)
    assert 0 < number_of_marks(browser, "lanes") < whole
    browser.js("document.getElementById('all').click()")
    assert number_of_marks(browser, "lanes") == whole


def test_keys(browser, tiny):
    """The plots and the table can be used without a mouse, and what is selected is told to screen readers."""
    browser.open(tiny)
    for _ in range(5):  # past the buttons
        browser.press("Tab")
        if browser.js("document.activeElement.id") == "lanes":
            break
    assert browser.js("document.activeElement.id") == "lanes"
    browser.press("ArrowRight")
    first = browser.js("document.getElementById('tip').innerText")
    browser.press("ArrowRight")
    second = browser.js("document.getElementById('tip').innerText")
    assert "cycles [" in first and "cycles [" in second and first != second
    assert browser.js("document.getElementById('tip').getAttribute('aria-live')") == "polite"
    browser.press("+")
    zoomed = number_of_marks(browser, "lanes")
    browser.press("0")
    assert zoomed < number_of_marks(browser, "lanes")
    browser.js("document.querySelectorAll('#layers th button')[1].focus()")
    for order in ("descending", "ascending"):
        browser.press("Enter")
        assert browser.js("document.querySelectorAll('#layers th')[1].getAttribute('aria-sort')") == order
        times = browser.js(
            "[...document.querySelectorAll('#layers tbody tr')].map((r) => Number(r.cells[1].dataset.v))"
        )
        assert times == sorted(times, reverse=order == "descending") and len(set(times)) > 1


def test_filter(browser, tiny):
    browser.open(tiny)
    browser.js(
        "(() => { const f = document.getElementById('filter'); f.value = 'CONV3'; f.dispatchEvent(new Event('input')); })()"
    )
    shown = (
        "[...document.querySelectorAll('#layers tbody tr')].filter((r) => !r.hidden).map((r) => r.innerText)"
    )
    (row,) = browser.js(shown)
    assert "conv3" in row


def test_names_from_a_stranger(browser, hostile):
    """They are shown as they are, and run nothing."""
    browser.open(hostile)
    enf = host_and_npu().load()
    timeline = Timeline(of_enf(enf), analyze_enf(enf))
    assert number_of_marks(browser, "lanes") == len(enf.commands) + len(timeline.pieces) >= 7
    assert HOSTILE[0] in browser.js("document.querySelector('h1').innerText")
    assert HOSTILE[1] in browser.js("document.querySelector('#layers').innerText")
    assert browser.js("document.title") == f"{HOSTILE[0]} for warboy-2pe"
    assert browser.js("document.querySelectorAll('img').length") == 0
    assert_quiet(browser, hostile)


def test_the_policy_holds(browser, hostile):
    """What would run or fetch if the page were not careful is refused by the browser."""
    browser.open(hostile)
    browser.js(
        "(() => { const s = document.createElement('script'); s.textContent = 'window.broken = 1'; document.body.append(s); })()"
    )
    browser.js(
        "(() => { const i = new Image(); i.src = 'http://localhost:9/x.png'; document.body.append(i); })()"
    )
    assert browser.js("fetch('http://localhost:9/').then(() => 'fetched', () => 'refused')") == "refused"
    assert browser.js("window.broken") is None
    assert any("Content Security Policy" in line for line in browser.console)


def test_ten_thousand_commands(browser, large):
    """They are drawn at once: a redraw, which every movement of the mouse needs, takes no part of a second that is felt."""
    browser.open(large)
    assert number_of_marks(browser, "lanes") >= COMMANDS
    assert number_of_marks(browser, "memory") == COMMANDS
    milliseconds = browser.js(
        "(() => { const t = performance.now(); document.getElementById('all').click(); return performance.now() - t; })()"
    )
    assert milliseconds < 500
    assert_quiet(browser, large)


@pytest.mark.parametrize(
    "name",
    [
        n
        for n in models.names("movenet_lightning_ptq.tflite", "tiny_vww_mobilenet_float.tflite")
        if n == "segmentation_int8" or n not in models.GENERATED
    ],
)
def test_pages_of_models_with_host_parts(browser, folder, name):
    """Ones that go from NPU to host, or back and forth, and one that only runs on the host."""
    (folder / name).write_bytes(models.read(name))
    page = pages(folder, folder / name)
    browser.open(page)
    assert number_of_marks(browser, "lanes") > 0
    assert "host" in browser.js("document.querySelector('.legend').innerText")
    assert browser.js("document.querySelectorAll('.reason').length") > 0
    assert_quiet(browser, page)
