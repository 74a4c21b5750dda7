"""A headless Chromium, and what the page's tests ask of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service as Driver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM: Final = Path("/usr/bin/chromium")
CHROMEDRIVER: Final = Path("/usr/bin/chromedriver")
PATIENCE_S: Final = 30.0
LOCAL: Final = {"data", "blob", "chrome", "chrome-extension", "chrome-untrusted", "devtools", "about"}
"""Schemes that leave the browser alone with itself."""
NEEDED: Final = [
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's package chromium"),
    pytest.mark.skipif(not CHROMEDRIVER.exists(), reason="needs Debian's package chromium-driver"),
]


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


def opened(browser: Browser, url: str) -> None:
    """Open a finished job and wait for its timeline."""
    browser.driver.get(url)
    browser.until("no timeline", lambda: browser.js("return document.documentElement.dataset.ready === 'yes'"))
    browser.until("no video", lambda: browser.js("return document.querySelector('video').readyState >= 2"))


def fits(browser: Browser) -> bool:
    return bool(browser.js("return document.documentElement.scrollWidth <= document.documentElement.clientWidth"))


def focused(browser: Browser) -> str:
    """Id, or class and text, of what has the focus; it must be seen to have it."""
    found = browser.js("""
        const at = document.activeElement, style = getComputedStyle(at);
        return [at.id || at.className || at.tagName, at === document.body || style.outlineStyle !== "none"
          || at.tabIndex === -1, at.matches(":focus-visible")];
    """)
    assert found[1], f"{found[0]} does not show its focus"
    return str(found[0])


def press(browser: Browser, *keys: str) -> None:
    ActionChains(browser.driver).send_keys(*keys).perform()


def tab_to(browser: Browser, wanted: str, most: int = 40) -> None:
    for _ in range(most):
        press(browser, Keys.TAB)
        if focused(browser) == wanted:
            return
    raise AssertionError(f"{wanted} is not reached by {most} tabs")


def luminance(color: str) -> float:
    """Relative luminance (WCAG 2) of `rgb(...)`."""
    parts = np.array([float(part) for part in color.strip("rgba()").split(",")[:3]]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(browser: Browser, text: str, ground: str) -> float:
    colors = browser.js(
        "return [getComputedStyle(document.querySelector(arguments[0])).color, "
        "getComputedStyle(document.querySelector(arguments[1])).backgroundColor]", text, ground,
    )  # fmt: skip
    low, high = sorted(luminance(color) for color in colors)
    return (high + 0.05) / (low + 0.05)
