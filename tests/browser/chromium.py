"""A headless Chromium, controlled through the pipe of its debugger: no port, no driver, no library."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from base64 import b64decode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PATIENCE = 50.0
"""Seconds until an answer; pytest ends a test after 60."""


def installed() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """A tab of a browser. `requests` and `complaints` contain the requests and log messages of all shown pages."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = commands
        self._answers = answers
        self._buffer = b""
        self._last = 0
        self._session = ""
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._loaded = False

    def attach(self) -> None:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        self._last += 1
        message: dict[str, object] = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._commands, data) :]
        while True:
            answer = self._next()
            if answer.get("id") == self._last:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def show(self, url: str) -> None:
        """Load a page and wait for its script."""
        self._loaded = False
        # If only the hash differs, Chromium does not load the page again.
        self.call("Page.navigate", url="about:blank")
        while not self._loaded:
            self._next()
        self._loaded = False
        self.requests.clear()
        self.call("Page.navigate", url=url)
        while not self._loaded:
            self._next()

    def value(self, expression: str) -> Any:
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press and release a key; `code` is its Windows virtual key code, `text` its character."""
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, text=text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def look(self, *, scheme: str = "light", media: str = "screen", width: int = 1280, height: int = 900) -> None:
        """Set color scheme, medium and size, in CSS pixels."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def pdf(self) -> bytes:
        """Return the printed page as PDF, with its headings as outline."""
        self.call("Emulation.setEmulatedMedia", media="")
        answer = self.call(
            "Page.printToPDF", preferCSSPageSize=True, generateDocumentOutline=True, printBackground=False
        )
        return b64decode(answer["data"])

    def _next(self) -> Mapping[str, Any]:
        """Return the next message; record it if it is an event."""
        until = time.monotonic() + _PATIENCE
        while b"\0" not in self._buffer:
            if not select.select([self._answers], [], [], max(0.0, until - time.monotonic()))[0]:
                raise TimeoutError("Chromium does not answer")
            data = os.read(self._answers, 1 << 20)
            if not data:
                raise EOFError("Chromium has ended")
            self._buffer += data
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, event: str, details: Mapping[str, Any]) -> None:
        if event == "Page.loadEventFired":
            self._loaded = True
        elif event == "Network.requestWillBeSent":
            self.requests.append(details["request"]["url"])
        elif event == "Log.entryAdded":
            self.complaints.append(details["entry"]["text"])
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(str(details["exceptionDetails"]))
        elif event == "Runtime.consoleAPICalled" and details["type"] in {"error", "warning", "assert"}:
            self.complaints.append(str(details["args"]))


def _pipe() -> tuple[int, int]:
    """Return the ends of a pipe, with descriptors that Chromium does not use."""
    low = os.pipe()
    reader, writer = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in low)
    for end in low:
        os.close(end)
    return reader, writer


@contextlib.contextmanager
def opened(program: str, profile: Path) -> Iterator[Page]:
    """Start a browser with one tab, and end it. `profile` is an empty directory."""
    from_us, to_chromium = _pipe()
    from_chromium, to_us = _pipe()
    process = subprocess.Popen(
        [
            # Chromium reads commands from descriptor 3, and answers on 4.
            *("bash", "-c", f'exec "$@" 3<&{from_us} 4>&{to_us} {from_us}<&- {to_us}>&- 2>/dev/null', "bash", program),
            # Chromium's sandbox does not work as root; /dev/shm is small in containers.
            *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars"),
            *("--no-first-run", "--disable-extensions", "--disable-background-networking", "--disable-sync"),
            *(f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"),
        ],
        pass_fds=(from_us, to_us),
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    os.close(from_us)
    os.close(to_us)
    try:
        page = Page(to_chromium, from_chromium)
        page.attach()
        yield page
    finally:
        os.close(to_chromium)
        os.close(from_chromium)
        # Chromium ends with the pipe; otherwise it is killed with its children.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait(timeout=10)
