"""A headless Chromium, driven by the DevTools protocol over a pipe: pages of a file, keys, screenshots, what went wrong."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from real import ENVIRONMENT

_KEYS = {
    "Tab": 9, "Enter": 13, "Escape": 27, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39,
    "ArrowDown": 40,
}
_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-breakpad", "--no-first-run", "--remote-debugging-pipe",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
)
_LONGEST = 30.0  # seconds that an answer may take


class Browser:
    """One page in it. `faults` are errors of the console, exceptions, refusals of the policy, and requests to anywhere."""

    def __init__(self, to: int, by: int) -> None:
        self._to, self._by, self._left, self._number = to, by, b"", 0
        self._session = ""
        self.faults: list[str] = []
        self._events: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def show(self, page: Path, width: int, height: int, dark: bool = False) -> None:
        """Open a file at this size, in one of the colour schemes."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._call("Emulation.setEmulatedMedia", features=scheme)
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._call("Emulation.setDeviceMetricsOverride", **metrics)
        self._events.clear()
        self._call("Page.navigate", url=page.as_uri())
        end = time.monotonic() + _LONGEST
        while "Page.loadEventFired" not in self._events:
            assert time.monotonic() < end, "the page never loaded"
            self._receive(end)

    def ask(self, expression: str) -> Any:
        """The value of an expression in the page."""
        done = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def press(self, *keys: str) -> None:
        """Press keys, one after another."""
        for key in keys:
            words: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": _KEYS[key]}
            self._call("Input.dispatchKeyEvent", type="keyDown", **words, **({"text": "\r"} if key == "Enter" else {}))
            self._call("Input.dispatchKeyEvent", type="keyUp", **words)

    def type(self, text: str) -> None:
        """Type text where the focus is."""
        self._call("Input.insertText", text=text)

    def picture(self, to: Path) -> bytes:
        """What is on the screen, as PNG."""
        data = base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"])
        to.write_bytes(data)
        return data

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + _LONGEST
        while True:
            answer = self._receive(end)
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result = answer["result"]
                assert isinstance(result, dict)
                return result

    def _receive(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._left:
            ready, _, _ = select.select([self._by], [], [], max(0, end - time.monotonic()))
            assert ready, "Chromium does not answer"
            piece = os.read(self._by, 1 << 20)
            assert piece, "Chromium has ended"
            self._left += piece
        text, _, self._left = self._left.partition(b"\0")
        message = json.loads(text)
        self._note(message.get("method", ""), message.get("params", {}))
        assert isinstance(message, dict)
        return message

    def _note(self, event: str, told: dict[str, Any]) -> None:
        self._events.append(event)
        if event == "Runtime.exceptionThrown":
            self.faults.append(str(told["exceptionDetails"]))
        elif event in ("Runtime.consoleAPICalled", "Log.entryAdded"):
            self.faults.append(str(told))
        elif event == "Network.requestWillBeSent" and not told["request"]["url"].startswith(("file:", "about:")):
            self.faults.append(f"asks for {told['request']['url']}")


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser with a profile of its own, gone afterwards with all that it started."""
    theirs, to = os.pipe()
    by, answers = os.pipe()
    # Chromium reads 3 and writes 4; both ends are out of the way of that first, as either may be one of these.
    place = "import os, sys; a, b = (os.dup2(int(each), n) for each, n in zip(sys.argv[1:3], (90, 91))); "
    place += "os.dup2(a, 3), os.dup2(b, 4), os.execvp(sys.argv[3], sys.argv[3:])"
    words = ["chromium", *_FLAGS, f"--user-data-dir={profile}"]
    running = subprocess.Popen(
        [sys.executable, "-c", place, str(theirs), str(answers), *words], cwd="/", env={**ENVIRONMENT, "HOME": str(profile)},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=(theirs, answers),
        start_new_session=True,
    )
    os.close(theirs)
    os.close(answers)
    try:
        yield Browser(to, by)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait(10)
        os.close(to)
        os.close(by)
