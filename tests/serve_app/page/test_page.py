"""The page in a real browser: a video goes in, is watched live, and its timeline is used, by mouse, keys and phone."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from pipeline.settings import Settings
from serve_app.api.application import create_app
from serve_app.exports import EXPORTS
from tests.media.encode import write_clip
from tests.media.patterns import moving_pattern, tone
from tests.serve_app.documents import document, everything, result
from tests.serve_app.page.browser import (
    NEEDED,
    Browser,
    browsing,
    contrast,
    fits,
    focused,
    luminance,
    opened,
    press,
    tab_to,
)
from tests.serve_app.page.fake_service import ScriptedService, made_job
from tests.serve_app.page.serving import Serving

pytestmark = NEEDED

KEY = "open sesame, said the reel"
DURATION_S = 24.0
FPS = 5
ATTACK = "<img src=x onerror=alert(1)><script>alert(2)</script>"
REPORT = document(
    *everything(DURATION_S),
    result("nose_emotion", [{"start": 3.0, "end": 9.0, "smell": ATTACK, "box": [0.4, 0.4, 0.7, 0.6]}]),
    covered=True,
    duration_s=DURATION_S,
    width=180,
    height=320,
)


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("media") / "Ein Clip.mp4"
    frames = moving_pattern(320, 180, int(DURATION_S * FPS))
    return write_clip(path, frames, fps=FPS, sound=tone(440.0, DURATION_S))


@pytest.fixture(scope="module")
def service(media: Path) -> ScriptedService:
    return ScriptedService(REPORT, media, seconds=2.0)


@pytest.fixture(scope="module")
def serving(service: ScriptedService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with Serving(create_app(Settings(data_dir=tmp_path_factory.mktemp("data")), service)) as serving:
        yield serving


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(chromium: Browser, serving: Serving, service: ScriptedService) -> Iterator[Browser]:
    """On a desktop, in the light. Nothing may stand in the console or leave this machine."""
    chromium.size(1440)
    chromium.scheme("light")
    yield chromium
    service.jobs.held = False
    trouble = chromium.js("const at = document.querySelector('#trouble'); return at && !at.hidden && at.textContent")
    assert not trouble
    assert chromium.complaints() == []
    assert chromium.strangers(serving.url) == []


@pytest.fixture(scope="module")
def done(service: ScriptedService) -> str:
    """The path of a job that is done."""
    job = made_job(source="Ein Clip.mp4", media_kept=True, duration_s=DURATION_S, video=REPORT.video)
    service.jobs.add(job)
    return job.links.page


def test_a_chosen_file_is_analyzed_before_ones_eyes(
    browser: Browser, serving: Serving, service: ScriptedService, media: Path
) -> None:
    service.jobs.held = True
    browser.driver.get(f"{serving.url}/")
    browser.until("the analyzers are not listed", lambda: browser.text("#which-count") == "all 14")
    browser.find("#file").send_keys(str(media))
    assert browser.text("#file-name") == "Ein Clip.mp4"
    assert focused(browser) == "go"
    browser.find("#go").click()
    browser.until("no job", lambda: "/jobs/" in browser.driver.current_url)
    browser.js("window.sameDocument = true")
    browser.until("no analyzer moves", lambda: browser.all(".row.works"))
    bar = browser.find(".row.works .track")
    assert bar.get_attribute("role") == "progressbar" and int(bar.get_attribute("aria-valuenow") or 0) > 0
    row = "[data-name=color_analysis]"
    browser.until("nothing found so far", lambda: "colour 0" in browser.text(row))
    assert browser.all(f"{row} .mini"), "its lane is drawn already"
    assert not browser.find("#timeline").is_displayed()
    browser.js("const video = document.querySelector('video'); video.dataset.same = 'yes'; return video.play()")
    service.jobs.held = False
    browser.shown("#timeline")
    assert browser.js("return window.sameDocument"), "the timeline came without a reload"
    assert browser.js("const video = document.querySelector('video[data-same=yes]'); return video && !video.paused")
    browser.until("no panels", lambda: browser.all("#transcript li"))
    assert not browser.find("#progress").is_displayed()
    assert "13 ok" in browser.text("#chips") and "1 failed" in browser.text("#chips")
    assert browser.driver.title == "Ein Clip.mp4 · Reelscope"
    assert "The timeline is there" in browser.text("#said")


def test_a_segment_is_gone_to_and_everything_follows(browser: Browser, serving: Serving, done: str) -> None:
    opened(browser, serving.url + done)
    plot = browser.find("#plot")
    left, top = browser.js("""
        const name = [...document.querySelectorAll(".name")].find((one) => one.textContent.startsWith("Speech"));
        const plot = document.querySelector("#plot").getBoundingClientRect(), at = name.getBoundingClientRect();
        const grid = document.querySelector("#plot .nsewdrag").getBoundingClientRect();
        return [grid.left + grid.width * 8.5 / arguments[0] - plot.left - plot.width / 2,
          at.top + 8 - plot.top - plot.height / 2];
    """, DURATION_S)  # fmt: skip
    ActionChains(browser.driver).move_to_element_with_offset(plot, round(left), round(top)).click().perform()
    at = browser.js("return document.querySelector('video').currentTime")
    assert at == pytest.approx(8.5, abs=0.1)
    assert "ask not what your country" in browser.text("#transcript li[aria-current]")
    assert browser.text("#transcript .spoken") == "not"
    assert any("bus" in text for text in browser.texts(".box:not([hidden])"))
    shown = browser.find("#playhead #flag").text
    assert shown == "0:08.5"
    assert "not" in browser.text("#now-list")


def test_downloads_are_all_formats_and_can_be_fetched(browser: Browser, serving: Serving, done: str) -> None:
    opened(browser, serving.url + done)
    links = {link.get_attribute("data-format"): link.get_attribute("href") for link in browser.all("#downloads a")}
    assert list(links) == list(EXPORTS)
    answered = browser.driver.execute_async_script(
        "const tell = arguments[1]; fetch(arguments[0]).then((answer) => answer.text()).then(tell)", links["srt"]
    )
    assert "ask not what your country" in answered


def test_what_a_video_says_is_text_and_never_markup(
    browser: Browser, serving: Serving, service: ScriptedService
) -> None:
    name = "<img src=x onerror=alert(3)>.mp4"
    job = made_job(source=name, media_kept=True, duration_s=DURATION_S)
    service.jobs.add(job)
    opened(browser, serving.url + job.links.page)
    assert browser.text("h1") == name
    browser.js("document.querySelector('video').currentTime = 4")
    browser.until("the caption is not shown", lambda: ATTACK in browser.text("#now-list"))
    assert not browser.all("main img, main b > b, #texts b, main script:not([id])")
    browser.driver.get(f"{serving.url}/")
    browser.until("not listed", lambda: name in browser.text("#jobs"))
    assert not browser.all("#jobs img, #jobs script")


def test_a_lost_connection_is_told_and_mends_itself(
    browser: Browser, serving: Serving, service: ScriptedService
) -> None:
    service.jobs.held = True
    browser.driver.get(f"{serving.url}/")
    browser.shown("#url").send_keys("https://www.tiktok.com/@somebody/video/1", Keys.ENTER)
    browser.until("no results", lambda: browser.all(".row.ended"))
    service.jobs.resumed_after.clear()
    serving.cut()
    browser.shown("#lost")
    assert "connection is lost" in browser.text("#lost")
    service.jobs.held = False
    serving.mend()
    browser.shown("#timeline")
    assert not browser.find("#lost").is_displayed()
    assert service.jobs.resumed_after and min(service.jobs.resumed_after) > 1, "it went on where it was"
    assert {"ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONNECTION_RESET"} & {
        word for line in browser.complaints() for word in line.replace("net::", "").split()
    }, "the browser itself has noted that the line was dead, and nothing else may be noted after this"


def test_a_phone_shows_all_of_it_without_scrolling_sideways(browser: Browser, serving: Serving, done: str) -> None:
    browser.size(360, 740, phone=True)
    browser.driver.get(f"{serving.url}/")
    browser.until("no analyzers", lambda: browser.text("#which-count"))
    browser.find("#which summary").click()
    assert fits(browser), "the start"
    browser.find("#url").send_keys("https://www.tiktok.com/@a.creator.with.a.very.long.name.indeed/video/1", Keys.ENTER)
    browser.until("no results", lambda: browser.all(".row.ended.ok"))
    assert fits(browser), "a job that runs"
    opened(browser, serving.url + done)
    assert fits(browser), "the timeline"
    picture = browser.find("#screen").rect
    assert picture["width"] > 100 and picture["x"] >= 0
    browser.size(1440)
    browser.until("not wider", lambda: browser.js("return document.querySelector('#plot svg').clientWidth > 700"))
    browser.size(360, 740, phone=True)
    browser.until("not narrower", lambda: fits(browser))


def test_everything_is_done_by_keyboard(browser: Browser, serving: Serving, service: ScriptedService) -> None:
    service.jobs.held = True
    browser.driver.get(f"{serving.url}/")
    press(browser, Keys.TAB)
    assert focused(browser) == "skip"
    press(browser, Keys.ENTER)
    tab_to(browser, "url", 3)
    press(browser, "https://www.tiktok.com/@somebody/video/2", Keys.ENTER)
    browser.until("no job", lambda: "/jobs/" in browser.driver.current_url)
    browser.shown(".row.works")
    tab_to(browser, "cancel", 6)
    service.jobs.held = False
    browser.until("no timeline", lambda: browser.js("return document.documentElement.dataset.ready === 'yes'"))
    browser.js("document.querySelector('.mark').focus()")
    tab_to(browser, "SUMMARY", 4)
    press(browser, Keys.ENTER)
    assert browser.find("#downloads a").is_displayed()
    press(browser, Keys.TAB)
    assert browser.js("return document.activeElement.dataset.format") == "json"
    press(browser, Keys.ESCAPE)
    assert not browser.find("#downloads ul").is_displayed()
    assert focused(browser) == "SUMMARY", "the focus is back where the menu was opened"
    tab_to(browser, "screen", 6)
    press(browser, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert browser.js("return document.querySelector('video').currentTime") == pytest.approx(2.0, abs=0.05)
    press(browser, Keys.SPACE)
    browser.until("it does not play", lambda: browser.js("return !document.querySelector('video').paused"))
    press(browser, Keys.SPACE)
    tab_to(browser, "title", 30)
    press(browser, Keys.HOME, Keys.ARROW_RIGHT)
    assert "0:05.2" in browser.text("#spoken"), "the next shot is told"


def test_the_dark_has_its_colours_and_text_can_be_read(browser: Browser, serving: Serving, done: str) -> None:
    opened(browser, serving.url + done)
    light = browser.js("return getComputedStyle(document.body).backgroundColor")
    browser.scheme("dark")
    dark = browser.js("return getComputedStyle(document.body).backgroundColor")
    assert (light, dark) == ("rgb(244, 245, 247)", "rgb(15, 18, 22)")
    drawn = "return document.querySelector('#plot .bars path, #plot .point path').style.fill"
    browser.until("the bars stay light", lambda: luminance(browser.js(drawn)) < 0.2)
    for path in (done, "/"):
        browser.driver.get(serving.url + path)
        browser.shown("main")
        for scheme in ("light", "dark"):
            browser.scheme(scheme)
            for selector, ground in ((".soft, .chips", "body"), (".mark", "body"), ("h1, h2", ".card")):
                assert contrast(browser, selector, ground) >= 4.5, (path, scheme, selector)


def test_a_job_that_does_not_succeed_says_why_and_what_to_do(
    browser: Browser, serving: Serving, service: ScriptedService
) -> None:
    browser.driver.get(f"{serving.url}/")
    browser.find("#go").click()
    assert "Paste the address" in browser.text("#wrong") and focused(browser) == "url"
    browser.find("#url").send_keys("https://www.tiktok.com/@somebody/private/1", Keys.ENTER)
    browser.shown("#ended")
    assert browser.text("#ended-title") == "The post is private"
    assert "followers only" in browser.text("#ended-text") and "upload the file" in browser.text("#ended-advice")
    assert focused(browser) == "ended-title"
    before = browser.driver.current_url
    browser.js("document.querySelector('#ended-actions button').click()")
    browser.until("it was not tried again", lambda: browser.driver.current_url != before)
    browser.until("it did not end", lambda: browser.text("#ended-title") == "The post is private")
    service.jobs.held = True
    browser.driver.get(f"{serving.url}/")
    browser.shown("#url").send_keys("https://www.tiktok.com/@somebody/video/3", Keys.ENTER)
    browser.shown(".row.ended")
    browser.js("document.querySelector('#cancel').click()")
    browser.until("not cancelled", lambda: browser.text("#ended-title") == "This job was cancelled")
    service.jobs.held = False
    assert browser.find("#rows").is_displayed(), "what was found until then stays"
    browser.driver.get(f"{serving.url}/jobs/nothing")
    browser.shown("#ended")
    assert browser.text("#ended-title") == "There is no such job"
    assert all("404" in line for line in browser.complaints()), "the browser notes that there is no such job"


def test_an_analyzer_runs_again_from_its_row(browser: Browser, serving: Serving, done: str) -> None:
    opened(browser, serving.url + done)
    browser.js("document.querySelector(\"button[aria-label='Run Bodies again']\").click()")
    browser.until("no other job", lambda: done not in browser.driver.current_url)
    origin = "const at = document.querySelector('#chips a'); return at && at.href"
    browser.until("it does not say from where", lambda: browser.js(origin) == serving.url + done)
    browser.shown("#timeline")


def test_jobs_are_listed_and_deleted_on_the_second_press(
    browser: Browser, serving: Serving, service: ScriptedService
) -> None:
    for number in range(60):
        service.jobs.add(made_job(source=f"clip {number}.mp4", duration_s=61.0))
    browser.driver.get(f"{serving.url}/")
    browser.until("not listed", lambda: len(browser.all(".job-row")) == 50)
    browser.find("#more").click()
    browser.until("no older ones", lambda: len(browser.all(".job-row")) > 59)
    names = browser.texts(".job-name")
    assert len(set(names)) >= 60 and "clip 0.mp4" in names
    row = "return document.querySelectorAll('.job-row')[arguments[0]]"
    number = names.index("clip 59.mp4")
    assert "Done" in browser.js(row, number).text and "1:01" in browser.js(row, number).text
    press_in_row = row + ".querySelector('button').click()"
    browser.js(press_in_row, number)
    assert "clip 59.mp4" in browser.texts(".job-name"), "once is not enough"
    browser.js(press_in_row, number)
    browser.until("still there", lambda: "clip 59.mp4" not in browser.texts(".job-name"))


def test_an_upload_shows_how_far_it_is_and_can_be_cancelled(
    browser: Browser, serving: Serving, service: ScriptedService, tmp_path: Path
) -> None:
    large = tmp_path / "large.mp4"
    large.write_bytes(bytes(8_000_000))
    browser.driver.get(f"{serving.url}/")
    browser.until("no jobs", lambda: browser.all(".job-row") or browser.find("#none").is_displayed())
    browser.command("Network.enable")
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1}
    browser.command("Network.emulateNetworkConditions", uploadThroughput=1_500_000, **slow)
    browser.find("#file").send_keys(str(large))
    browser.find("#go").click()
    bar = browser.shown("#uploading [role=progressbar]")
    browser.until("it does not move", lambda: 0 < int(bar.get_attribute("aria-valuenow") or 0) < 100)
    assert "of 8.0 MB" in browser.text("#upload-text")
    assert focused(browser) == "stop"
    press(browser, Keys.ENTER)
    browser.until("not cancelled", lambda: "cancelled" in browser.text("#wrong"))
    browser.command("Network.emulateNetworkConditions", uploadThroughput=-1, **slow)
    assert browser.find("#go").is_enabled() and browser.find("#chosen").is_displayed(), "it can be sent again"
    assert not browser.find("#uploading").is_displayed()
    assert browser.driver.current_url == f"{serving.url}/"


def test_who_has_a_key_signs_in_and_out(chromium: Browser, media: Path, tmp_path: Path) -> None:
    access: dict[str, Any] = {"keys": {"somebody": {"sha256": hashlib.sha256(KEY.encode()).hexdigest()}}}
    service = ScriptedService(REPORT, media, seconds=1.0)
    job = made_job(source="mine.mp4", media_kept=True, duration_s=DURATION_S)
    service.jobs.add(job, owner="somebody")
    chromium.size(360, 740, phone=True)
    with Serving(create_app(Settings(data_dir=tmp_path, access=access), service)) as serving:
        chromium.driver.get(serving.url + job.links.page)
        chromium.shown("#sign-in")
        assert not chromium.find("main").is_displayed() and fits(chromium)
        assert focused(chromium) == "key"
        press(chromium, "not the key", Keys.ENTER)
        chromium.until("no word about it", lambda: "not known" in chromium.text("#key-wrong"))
        press(chromium, KEY, Keys.ENTER)
        chromium.shown("#timeline")
        assert not chromium.find("#sign-in").is_displayed()
        chromium.until("no video", lambda: chromium.js("return document.querySelector('video').readyState >= 2"))
        assert "reelscope_session" not in chromium.js("return document.cookie"), "scripts cannot read it"
        chromium.driver.get(f"{serving.url}/")
        chromium.until("not signed in", lambda: "mine.mp4" in chromium.text("#jobs"))
        chromium.shown("#sign-out").click()
        chromium.shown("#sign-in")
        assert "mine.mp4" not in chromium.text("#jobs")
        time.sleep(0.1)
        assert all("401" in line for line in chromium.complaints())
        assert chromium.strangers(serving.url) == []
