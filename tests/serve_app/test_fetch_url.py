"""Which URLs are those of a post."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.service_settings import FetchSettings
from serve_app.fetch import check_url
from serve_app.problems import CODES, Problem

DEFAULTS = FetchSettings()


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("https://www.tiktok.com/@anna/video/7", "https://www.tiktok.com/@anna/video/7"),
        ("HTTPS://WWW.TikTok.com/@Anna/video/7", "https://www.tiktok.com/@Anna/video/7"),
        ("  https://vm.tiktok.com/ZT/  ", "https://vm.tiktok.com/ZT/"),
        ("https://tiktok.com", "https://tiktok.com/"),
        ("https://youtu.be/abc?t=3&x=%20#frag", "https://youtu.be/abc?t=3&x=%20"),
        ("https://youtu.be?v=abc", "https://youtu.be/?v=abc"),
        ("https://www.youtube.com:443/shorts/abc", "https://www.youtube.com/shorts/abc"),
        ("https://www.instagram.com/reel/Ü/", "https://www.instagram.com/reel/%C3%9C/"),
        ("https://youtu.be/a#__youtubedl_smuggle=%7B%22x%22%3A1%7D", "https://youtu.be/a"),
        ("https://www.tiktok.com/@user@evil.org/video/7", "https://www.tiktok.com/@user@evil.org/video/7"),
    ],
)
def test_a_posts_url_comes_back_in_one_form(given: str, normal: str) -> None:
    assert check_url(given, DEFAULTS) == normal
    assert check_url(normal, DEFAULTS) == normal


@pytest.mark.parametrize(
    "url",
    [
        "",
        "www.tiktok.com/@a/video/7",
        "//www.tiktok.com/@a/video/7",
        "http://www.tiktok.com/@a/video/7",
        "ftp://www.tiktok.com/",
        "file:///etc/passwd",
        "concat:https://www.tiktok.com/",
        "ytsearch:cats",
        "javascript:https://tiktok.com/",
        "data:text/html,https://tiktok.com/",
        "https:/www.tiktok.com/",
        "https:www.tiktok.com/",
        "https:///www.tiktok.com/",
        "https://user@www.tiktok.com/",
        "https://user:password@www.tiktok.com/",
        "https://www.tiktok.com@evil.org/",
        "https://evil.org#@www.tiktok.com/",
        "https://evil.org/https://www.tiktok.com/",
        "https://evil.org?www.tiktok.com",
        "https://evil.org\\@www.tiktok.com/",
        "https://www.tiktok.com\\@evil.org/",
        "https://www.tiktok.com%2eevil.org/",
        "https://www.tiktok.com%00.evil.org/",
        "https://tiktok.com.evil.org/",
        "https://eviltiktok.com/",
        "https://tiktok.com-evil.org/",
        "https://tiktok.co/",
        "https://com/",
        "https://www.tiktok.com./",
        "https://tiktok.com../",
        "https://.tiktok.com/",
        "https://a..tiktok.com/",
        "https://www.tiktok.com:8443/",
        "https://www.tiktok.com:80/",
        "https://www.tiktok.com:/",
        "https://www.tiktok.com:443@evil.org/",
        "https://www.tiktok.com:99999999/",
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://169.254.169.254/latest/meta-data/",
        "https://localhost/",
        "https://xn--tktok-q4a.com/",
        "https://xn--a.tiktok.com/",
        "https://tıktok.com/",
        "https://ti\u212atok.com/",
        "https://\uff54iktok.com/",
        "https://tiktok\u3002com/",
        "https://tik\ntok.com/",
        "https://www.tiktok.com/\r\nHost: evil.org",
        "https://www.tiktok.com/a b",
        "https://www.tiktok.com/\x00",
        "https://www.tiktok.com/\x7f",
        "https://www.tiktok.com/\u202e",
        "https://www.tiktok.com/\ud800",
        "\thttps://www.tiktok.com/",
        "https://www.tiktok.com/\n",
        "https://www.tiktok.com/<script>",
        "https://www.tiktok.com/" + "a" * 2048,
        "https://" + "a." * 200 + "tiktok.com/",
    ],
)
def test_whatever_is_no_posts_url_is_refused_with_a_reason(url: str) -> None:
    with pytest.raises(Problem) as raised:
        check_url(url, DEFAULTS)
    assert raised.value.code == "url_not_allowed"
    assert "https URL of one post" in raised.value.detail
    assert all(character.isprintable() for character in raised.value.detail)


def test_a_host_with_a_port_is_allowed_at_that_port_only() -> None:
    settings = FetchSettings(hosts=["videos.example:8443"])
    assert check_url("https://videos.example:8443/1", settings) == "https://videos.example:8443/1"
    assert check_url("https://eu.videos.example:8443/1", settings) == "https://eu.videos.example:8443/1"
    for url in ("https://videos.example/1", "https://videos.example:443/1", "https://videos.example:8444/1"):
        with pytest.raises(Problem, match=r"fetch\.hosts"):
            check_url(url, settings)


@pytest.mark.parametrize(
    ("url", "extractor"),
    [
        ("https://www.tiktok.com/@anna/video/7106798200794926362", "TikTok"),
        ("https://tiktok.com/@anna/video/7106798200794926362", "TikTok"),
        ("https://vm.tiktok.com/ZTR45GpSF/", "TikTokVM"),
        ("https://www.tiktok.com/t/ZTRC5xgJp", "TikTokVM"),
        ("https://www.instagram.com/reel/CDUMkliABpa/", "Instagram"),
        ("https://instagram.com/p/CDUMkliABpa/", "Instagram"),
        ("https://www.youtube.com/shorts/BGQWPY4IigY", "Youtube"),
        ("https://m.youtube.com/shorts/BGQWPY4IigY", "Youtube"),
        ("https://youtu.be/BGQWPY4IigY?si=abc", "Youtube"),
        ("https://www.tiktok.com/@anna", None),
        ("https://www.instagram.com/anna/", None),
        ("https://www.youtube.com/playlist?list=PL1", None),
        ("https://www.youtube.com/@anna/shorts", None),
    ],
)
def test_the_extractors_that_are_allowed_by_default_know_posts_and_no_lists(
    post_dl: Any, url: str, extractor: str | None
) -> None:
    form = post_dl.known_form(check_url(url, DEFAULTS))
    assert next((key for key, entry in post_dl._ies.items() if entry.suitable(form)), None) == extractor


@pytest.fixture(scope="module")
def post_dl() -> Any:
    """yt-dlp as the fetching process sets it up."""
    from serve_app.fetch_child import _parameters, _PostDL, _Progress

    progress = _Progress(DEFAULTS, lambda kind, answer: None)
    with _PostDL(_parameters(None, DEFAULTS, progress), DEFAULTS) as made:
        made.check_extractors()
        yield made


def test_the_guide_names_every_setting_and_every_code_of_posts() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "fetching.md").read_text(encoding="utf-8")
    codes = [*(code for code in CODES if code.startswith(("post_", "host_")))]
    for name in [*FetchSettings.model_fields, *codes, "fetch_timed_out", "extractor_broken", "address_not_allowed"]:
        assert f"| `{name}` |" in guide, name
