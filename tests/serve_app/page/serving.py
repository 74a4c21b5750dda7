"""An application on a port of this machine, over a line that can be cut, and a headless Chromium that looks at it."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI
from selenium import webdriver
from selenium.webdriver.chrome.service import Service as Driver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM: Final = Path("/usr/bin/chromium")
CHROMEDRIVER: Final = Path("/usr/bin/chromedriver")
START_S: Final = 30.0
PATIENCE_S: Final = 15.0
LOCAL: Final = {"data", "blob", "chrome", "chrome-extension", "chrome-untrusted", "devtools", "about"}
"""Schemes that leave the browser alone with itself."""


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


class Serving:
    """Runs the application in a thread. Browsers reach it over a line of its own that `cut` and `mend` control."""

    def __init__(self, app: FastAPI) -> None:
        config = uvicorn.Config(app, port=0, log_level="warning", ws="none", timeout_graceful_shutdown=2)
        self._server = _Server(config)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._server.serve(),))
        self._line: asyncio.Server | None = None
        self._calls: set[asyncio.StreamWriter] = set()
        self._port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._server.up.wait(START_S), "the application did not come up"
        self.mend()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()
        self._server.should_exit = True
        self._thread.join(START_S)
        self._loop.close()

    @property
    def url(self) -> str:
        """Where it is, without a slash at the end."""
        return f"http://127.0.0.1:{self._port}"

    def cut(self) -> None:
        """Break all connections, and refuse new ones."""
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result(START_S)

    def mend(self) -> None:
        """Take connections again, on the same port."""
        asyncio.run_coroutine_threadsafe(self._mend(), self._loop).result(START_S)

    async def _cut(self) -> None:
        assert self._line is not None
        self._line.close()
        for writer in list(self._calls):
            writer.transport.abort()

    async def _mend(self) -> None:
        self._line = await asyncio.start_server(self._forward, "127.0.0.1", self._port)
        self._port = self._line.sockets[0].getsockname()[1]

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self._server.servers[0].sockets[0].getsockname()[:2]
        inner_reader, inner_writer = await asyncio.open_connection(host, port)
        self._calls |= {writer, inner_writer}
        await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))
        self._calls -= {writer, inner_writer}


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while block := await reader.read(65_536):
            writer.write(block)
            await writer.drain()
    writer.close()


class Browser:
    """Chromium with what these tests ask of it.

    Attributes:
        driver: selenium's.
    """

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def command(self, name: str, **arguments: Any) -> Any:
        """One of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(name, arguments)

    def size(self, width: int, height: int = 900, *, phone: bool = False) -> None:
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone
        )

    def scheme(self, name: str) -> None:
        """`dark`, `light`, or empty for what is usual."""
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def js(self, script: str, *arguments: Any) -> Any:
        """What the script returns."""
        return self.driver.execute_script(script, *arguments)

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """Of an element, seen or not."""
        return str(self.js("return document.querySelector(arguments[0]).textContent", selector)).strip()

    def texts(self, selector: str) -> list[str]:
        """Of all such elements."""
        script = "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)"
        return list(self.js(script, selector))

    def until(self, what: str, true: Callable[[], Any], seconds: float = PATIENCE_S) -> Any:
        """Wait for something; `what` says what did not come."""
        waiting = WebDriverWait(self.driver, seconds, poll_frequency=0.05)
        return waiting.until(lambda _: true(), what)

    def shown(self, selector: str, seconds: float = PATIENCE_S) -> WebElement:
        """The element, as soon as it is seen."""
        script = "return [...document.querySelectorAll(arguments[0])].find((one) => one.checkVisibility())"
        found = self.until(f"{selector} is not shown", lambda: self.js(script, selector), seconds)
        assert isinstance(found, WebElement)
        return found

    def complaints(self) -> list[str]:
        """Errors in the console since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def requests(self) -> list[str]:
        """Addresses asked for since the last call."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [one["params"]["request"]["url"] for one in events if one["method"] == "Network.requestWillBeSent"]

    def strangers(self, url: str) -> list[str]:
        """Requests to anything but the service at that address, since the last call."""
        host = urlsplit(url).netloc
        parts = [(address, urlsplit(address)) for address in self.requests()]
        return [address for address, part in parts if part.scheme not in LOCAL and part.netloc != host]


@contextmanager
def browsing(profile: Path) -> Iterator[Browser]:
    """A fresh Chromium without a network beyond this machine."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
        "--autoplay-policy=no-user-gesture-required", "--mute-audio", f"--user-data-dir={profile}",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Driver(str(CHROMEDRIVER)))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
        shutil.rmtree(profile, ignore_errors=True)
