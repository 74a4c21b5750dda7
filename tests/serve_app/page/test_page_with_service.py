"""The page over the real service: upload, jobs, events and analyzers, in threads of this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.registry import discover
from pipeline.settings import Settings
from serve_app.api.application import create_app
from serve_app.service import Service
from tests.serve_app.page.browser import NEEDED, browsing
from tests.serve_app.page.serving import Serving

pytestmark = NEEDED

RUNNING = {"cut_analysis", "color_analysis"}
LOAD_S = 60.0


def test_a_video_goes_from_the_form_to_its_timeline_and_is_deleted(clip: Path, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", disabled=sorted(set(discover()) - RUNNING))
    service = Service(settings, local=True)
    with Serving(create_app(settings, service)) as serving, browsing(tmp_path / "profile") as browser:
        browser.driver.get(f"{serving.url}/")
        browser.until("not loaded", lambda: browser.text("#which-count") == "all 2", LOAD_S)
        browser.find("#file").send_keys(str(clip))
        browser.find("#go").click()
        ready = "return document.documentElement.dataset.ready === 'yes'"
        browser.until("no timeline", lambda: browser.js(ready), LOAD_S)
        assert "2 ok" in browser.text("#chips")
        assert len(browser.texts("#gutter .lane.ok")) == 2
        browser.until("no video", lambda: browser.js("return document.querySelector('video').readyState >= 2"))
        assert browser.js("return document.querySelector('video').duration") == pytest.approx(3.0, abs=0.2)
        job = browser.driver.current_url
        browser.js("document.querySelector(\"button[aria-label='Run Colour again']\").click()")
        browser.until("no other job", lambda: browser.driver.current_url != job)
        browser.until("no timeline", lambda: browser.js(ready), LOAD_S)
        browser.driver.get(f"{serving.url}/")
        browser.until("not listed", lambda: len(browser.texts(".job-row")) == 2)
        for left in (1, 0):
            browser.js("const at = document.querySelector('.job-row button'); at.click(); at.click()")
            browser.until("not deleted", lambda left=left: len(browser.texts(".job-row")) == left)
        browser.shown("#none")
        assert browser.complaints() == []
        assert browser.strangers(serving.url) == []
