"""A headless Chromium for tests, over its DevTools protocol on a pair of pipes: no port, no driver, no download."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Self

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # tests run as root in containers; the page is our own
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)
_PATIENCE = 60.0  # seconds for an answer


def find() -> str | None:
    """The program, or None."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


class Browser:
    """A context with one page.

    ``console`` holds the messages that the page wrote, of the kinds "error" and "warning" and whatever the browser itself
    complains of; ``requests`` the addresses that it asked for.
    """

    def __init__(self, folder: Path):
        self.console: list[str] = []
        self.requests: list[str] = []
        self._loaded = 0
        self._number = 0
        self._session: str | None = None
        self._rest = b""
        read_by_browser, self._out = os.pipe()
        self._in, written_by_browser = os.pipe()
        program = find()
        assert program is not None
        # the protocol wants to read from descriptor 3 and write to 4
        command = f'exec 3<&{read_by_browser} 4>&{written_by_browser}; exec "$@"'
        self._process = subprocess.Popen(
            [
                "bash",
                "-c",
                command,
                "chromium",
                program,
                *_OPTIONS,
                f"--user-data-dir={folder}",
                "about:blank",
            ],
            pass_fds=(read_by_browser, written_by_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"HOME": str(folder)},
        )
        os.close(read_by_browser)
        os.close(written_by_browser)

    def __enter__(self) -> Self:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._session = None
            self.call("Browser.close")
            self._process.wait(10)
        except (OSError, EOFError, TimeoutError, subprocess.TimeoutExpired):
            pass
        finally:
            self._process.kill()
            self._process.wait()
            os.close(self._out)
            os.close(self._in)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of one method of the protocol."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + _PATIENCE
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError("the browser does not answer")
            more = os.read(self._in, 1 << 16)
            if not more:
                raise EOFError("the browser has ended")
            self._rest += more
        text, _, self._rest = self._rest.partition(b"\0")
        message = json.loads(text)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, event: str | None, p: dict[str, Any]) -> None:
        if event == "Runtime.exceptionThrown":
            self.console.append(str(p["exceptionDetails"]))
        elif event == "Runtime.consoleAPICalled" and p["type"] in ("error", "warning", "assert"):
            self.console.append(str(p["args"]))
        elif event == "Log.entryAdded":
            self.console.append(f"{p['entry']['level']}: {p['entry']['text']}")
        elif event == "Network.requestWillBeSent":
            self.requests.append(p["request"]["url"])
        elif event == "Page.loadEventFired":
            self._loaded += 1

    def open(self, path: Path, width: int = 1280, height: int = 1000, scheme: str = "light") -> None:
        """Shows a file in a window of this size and colour scheme, and forgets what was noted before."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)
        self.console.clear()
        self.requests.clear()
        before = self._loaded
        self.call("Page.navigate", url=path.resolve().as_uri())
        while self._loaded == before:
            self._next()
        self.js("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def js(self, expression: str) -> Any:
        """The value of an expression, as JSON has it."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def screenshot(self, *, whole: bool = False) -> bytes:
        """A PNG of the window, or of the whole page."""
        return base64.b64decode(
            self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        )

    def colours(self, png: bytes) -> dict[str, int]:
        """How many pixels of a PNG have each colour, "r,g,b"; leaves the page."""
        self.call("Page.navigate", url="about:blank")
        return self.js(f"""(async () => {{
            const image = new Image();
            image.src = "data:image/png;base64,{base64.b64encode(png).decode()}";
            await image.decode();
            const canvas = new OffscreenCanvas(image.width, image.height), counts = {{}};
            const context = canvas.getContext("2d");
            context.drawImage(image, 0, 0);
            const p = context.getImageData(0, 0, image.width, image.height).data;
            for (let i = 0; i < p.length; i += 4) {{
                const colour = `${{p[i]}},${{p[i + 1]}},${{p[i + 2]}}`;
                counts[colour] = (counts[colour] || 0) + 1;
            }}
            return counts;
        }})()""")

    def box(self, selector: str) -> tuple[float, float, float, float]:
        """Left, top, width and height of an element in the window."""
        rectangle = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        return tuple(self.js(f"(({{left, top, width, height}}) => [left, top, width, height])({rectangle})"))

    def move(self, x: float, y: float) -> None:
        """Moves the mouse."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def drag(self, x0: float, x1: float, y: float) -> None:
        """Drags from left to right."""
        for kind, x in (("mousePressed", x0), ("mouseMoved", x1), ("mouseReleased", x1)):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def tap(self, x: float, y: float) -> None:
        """Touches and lets go."""
        self.call("Emulation.setTouchEmulationEnabled", enabled=True)
        self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        self.call("Emulation.setTouchEmulationEnabled", enabled=False)

    def press(self, key: str) -> None:
        """Presses and releases a key."""
        code = {"Tab": 9, "Enter": 13, "ArrowRight": 39, "ArrowLeft": 37, "ArrowUp": 38, "ArrowDown": 40}.get(
            key, 0
        )
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)
