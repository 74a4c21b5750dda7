"""Fetching posts from a host on this machine: what comes, what is refused, and what is left behind."""

# ruff: noqa: ASYNC240 - a look into a small folder keeps nobody waiting here

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import pytest

from pipeline.errors import UsageError
from pipeline.service_settings import MIB, FetchSettings
from serve_app.fetch import Fetched, Fetcher
from serve_app.problems import Problem
from tests.media.encode import write_clip
from tests.media.patterns import moving_pattern, tone
from tests.serve_app.post_host.server import PostHost, post_host, proxy

PLUGIN = Path(__file__).parent / "post_host"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Iterator[PostHost]:
    with post_host(tmp_path_factory.mktemp("host")) as host:
        host.media["clip.mp4"] = clip.read_bytes()
        yield host


@pytest.fixture
def host(server: PostHost) -> PostHost:
    server.posts.clear()
    server.asked.clear()
    return server


def settings(host: PostHost, **more: Any) -> FetchSettings:
    return FetchSettings(
        **{
            "hosts": [f"127.0.0.1:{host.port}"],
            "extractors": ["PostHost", "BareHost"],
            "plugins": [PLUGIN],
            "networks_allowed": ["127.0.0.1/32"],
            "ca_file": host.ca_file,
            "time_s_max": 60,
            **more,
        }
    )


async def problem(host: PostHost, url: str, folder: Path, **more: Any) -> Problem:
    """The problem that fetching meets; nothing may be left in the folder."""
    with pytest.raises(Problem) as raised:
        await Fetcher(settings(host, **more)).fetch(url, folder)
    assert list(folder.iterdir()) == []
    return raised.value


async def codes(host: PostHost, folder: Path, *urls: str, **more: Any) -> list[str]:
    """The codes that several posts meet, fetched at once."""
    fetcher = Fetcher(settings(host, **more))
    met = await asyncio.gather(*(fetcher.fetch(url, folder) for url in urls), return_exceptions=True)
    assert list(folder.iterdir()) == []
    return [error.code if isinstance(error, Problem) else repr(error) for error in met]


async def test_a_post_is_fetched_whole_with_what_the_host_says_about_it(
    host: PostHost, clip: Path, tmp_path: Path
) -> None:
    url = host.video("a", title="A \u202etitle\nof\x00 two lines " + "x" * 500, uploader="Anna", duration=3)
    seen: list[tuple[int, int | None]] = []
    fetched = await Fetcher(settings(host)).fetch(f" {url}#t=1", tmp_path / "new", lambda *at: seen.append(at))
    assert fetched == Fetched(
        path=tmp_path / "new" / "post.mp4",
        url=url,
        host=f"127.0.0.1:{host.port}",
        post_id="a",
        title=fetched.title,
        uploader="Anna",
        bytes=clip.stat().st_size,
        duration_s=pytest.approx(3.0, abs=0.1),
    )
    assert fetched.title.startswith("A title of two lines xxx") and len(fetched.title) == 300
    assert fetched.path.read_bytes() == clip.read_bytes()
    assert [path.name for path in fetched.path.parent.iterdir()] == ["post.mp4"]
    assert seen[-1] == (fetched.bytes, fetched.bytes)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


async def test_picture_and_sound_that_come_apart_are_joined(host: PostHost, tmp_path: Path) -> None:
    host.media["picture.mp4"] = write_clip(tmp_path / "p.mp4", moving_pattern(568, 320, 60)).read_bytes()
    host.media["sound.m4a"] = write_clip(tmp_path / "s.m4a", None, sound=tone(440.0, 2.0)).read_bytes()
    files = [
        {"path": "/media/sound.m4a", "ext": "m4a", "vcodec": "none", "acodec": "aac"},
        {"path": "/media/picture.mp4", "ext": "mp4", "vcodec": "h264", "acodec": "none", "height": 568},
    ]
    fetched = await Fetcher(settings(host)).fetch(host.post("a", title="Apart", files=files), tmp_path / "out")
    with av.open(str(fetched.path)) as container:
        assert {stream.type: stream.codec_context.name for stream in container.streams} == {
            "video": "h264",
            "audio": "aac",
        }
        assert sum(packet.size > 0 for packet in container.demux(video=0)) == 60
    assert fetched.path.name == "post.mp4" and fetched.duration_s == pytest.approx(2.0, abs=0.1)


async def test_the_pieces_of_an_hls_playlist_are_put_together(host: PostHost, clip: Path, tmp_path: Path) -> None:
    with (
        av.open(str(clip)) as source,
        av.open(str(tmp_path / "list.m3u8"), "w", options={"hls_time": "1", "hls_list_size": "0"}) as playlist,
    ):
        targets = {stream: playlist.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = targets[packet.stream]
                playlist.mux(packet)
    host.media |= {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    url = host.post("a", title="Pieces", hls="/media/list.m3u8")
    fetched = await Fetcher(settings(host)).fetch(url, tmp_path / "out")
    assert fetched.duration_s == pytest.approx(3.0, abs=0.1)


async def test_redirects_to_allowed_addresses_are_followed(host: PostHost, clip: Path, tmp_path: Path) -> None:
    twice = f"/media/clip.mp4?to={host.site}/media/clip.mp4%3Fto={host.site}/media/clip.mp4"
    short = host.post("short", status="moved", url=host.video("a", twice))
    fetched = await Fetcher(settings(host)).fetch(short, tmp_path)
    assert fetched.bytes == clip.stat().st_size and fetched.post_id == "a"


async def test_redirects_to_private_addresses_and_other_schemes_are_refused(host: PostHost, tmp_path: Path) -> None:
    targets = [
        "https://10.0.0.1/",
        "https://127.0.0.2/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://167772161/",
        "https://0x0a000001/",
        f"http://127.0.0.1:{host.port}/",
        "ftp://127.0.0.1/",
    ]
    from_api = [host.post(f"api{number}", to=target) for number, target in enumerate(targets)]
    from_media = [host.video(f"m{number}", f"/media/clip.mp4?to={target}") for number, target in enumerate(targets[:2])]
    met = await codes(host, tmp_path, *from_api, *from_media)
    assert met == ["address_not_allowed"] * (len(targets) + 2)


async def test_a_host_that_is_private_itself_is_refused(host: PostHost, tmp_path: Path) -> None:
    error = await problem(host, host.video("a"), tmp_path, networks_allowed=[])
    assert error.code == "address_not_allowed" and "127.0.0.1 is not a public address" in error.detail
    assert host.asked == []


async def test_each_refusal_of_a_host_has_its_code(host: PostHost, tmp_path: Path) -> None:
    expected = {
        host.post("login", status="login"): "post_login_needed",
        host.post("blocked", status="blocked"): "post_geo_blocked",
        host.post("private", status="no", message="This video is private"): "post_private",
        host.post("gone", status="no", message="This video has been removed by the uploader"): "post_removed",
        host.post("limited", status="no", message="You have exceeded the rate-limit"): "host_rate_limited",
        host.post("photo", status="no", message="There is no video in this post"): "post_without_video",
        host.video("live", is_live=True): "post_without_video",
        host.post("404", http=404): "post_removed",
        host.post("429", http=429): "host_rate_limited",
        host.post("451", http=451): "post_geo_blocked",
        host.post("503", http=503): "host_unreachable",
        host.post("list", status="list", posts=["a", "b"]): "url_not_allowed",
        host.post("generic", status="generic", url=f"{host.site}/media/clip.mp4"): "url_not_allowed",
        f"{host.site}/@anna": "url_not_allowed",
        host.post("page", status="moved", url=f"{host.site}/@anna"): "url_not_allowed",
    }
    assert await codes(host, tmp_path, *expected) == list(expected.values())


async def test_a_host_that_is_down_or_not_who_it_says_is_unreachable(host: PostHost, tmp_path: Path) -> None:
    url = host.video("a")
    assert (await problem(host, url, tmp_path, ca_file=None)).code == "host_unreachable"
    nobody = url.replace(str(host.port), "9")
    assert (await problem(host, nobody, tmp_path, hosts=["127.0.0.1:9"])).code == "host_unreachable"


async def test_an_extractor_that_breaks_names_its_version_and_the_remedy(host: PostHost, tmp_path: Path) -> None:
    for url in (f"{host.site}/bare/1", host.post("a", title="No files")):
        error = await problem(host, url, tmp_path)
        assert error.code == "extractor_broken"
        assert "this is yt-dlp 20" in error.detail and "newer version" in error.detail


async def test_an_extractor_starts_no_program(host: PostHost, tmp_path: Path) -> None:
    error = await problem(host, host.post("a", status="start", title="t"), tmp_path)
    assert error.code == "extractor_broken" and "may not start others" in error.detail


async def test_a_process_that_dies_or_eats_memory_is_an_error_like_others(host: PostHost, tmp_path: Path) -> None:
    error = await problem(host, host.post("a", status="die"), tmp_path)
    assert error.code == "extractor_broken" and "SIGKILL" in error.detail
    error = await problem(host, host.post("a", status="eat"), tmp_path, memory_bytes_max=1024 * MIB)
    assert error.code == "extractor_broken" and "fetch.memory_bytes_max" in error.detail


@pytest.mark.parametrize("how", ["", "?size=none", "?endless=1"])
async def test_a_video_that_is_too_large_is_refused_announced_or_not(host: PostHost, tmp_path: Path, how: str) -> None:
    host.media["large.mp4"] = bytes(3 * MIB)
    error = await problem(host, host.video("a", f"/media/large.mp4{how}"), tmp_path, bytes_max=MIB)
    assert error.code == "post_too_large"
    assert "fetch.bytes_max" in error.detail and str(MIB) in error.detail


async def test_a_video_that_is_too_long_is_refused_whether_the_host_says_so_or_not(
    host: PostHost, tmp_path: Path
) -> None:
    error = await problem(host, host.video("a", duration=3), tmp_path, duration_s_max=2)
    assert error.code == "post_too_long" and "3.0 s, the limit is 2 s" in error.detail
    assert not any(path.startswith("/media") for path, _ in host.asked)
    error = await problem(host, host.video("b", duration=1), tmp_path, duration_s_max=2)
    assert error.code == "post_too_long" and any(path.startswith("/media") for path, _ in host.asked)


async def test_what_is_no_video_is_said_to_be_none(host: PostHost, tmp_path: Path) -> None:
    host.media["page.mp4"] = b"<html>please log in</html>"
    host.media["list.mp4"] = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\nfile:///etc/passwd\n"
    host.media["sound.mp4"] = write_clip(tmp_path / "s.m4a", None, sound=tone(440.0, 1.0)).read_bytes()
    folder = tmp_path / "out"
    folder.mkdir()
    urls = [host.video(name, f"/media/{name}.mp4") for name in ("page", "list", "sound")]
    assert await codes(host, folder, *urls) == ["post_without_video"] * 3


async def test_a_host_that_trickles_meets_the_time_limit(host: PostHost, tmp_path: Path) -> None:
    started = time.monotonic()
    error = await problem(host, host.video("a", "/media/clip.mp4?endless=1&slow=1"), tmp_path, time_s_max=3)
    assert error.code == "fetch_timed_out" and "fetch.time_s_max" in error.detail
    assert time.monotonic() - started < 6


async def test_cancelling_ends_the_process_and_leaves_no_file(host: PostHost, tmp_path: Path) -> None:
    url = host.video("a", "/media/clip.mp4?endless=1&slow=1")
    begun = asyncio.Event()
    task = asyncio.create_task(Fetcher(settings(host)).fetch(url, tmp_path, lambda *_: begun.set()))
    await asyncio.wait_for(begun.wait(), 30)
    assert list(tmp_path.glob(".fetch-*/post-1.mp4.part")) and len(fetching()) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(tmp_path.iterdir()) == [] and fetching() == []


def fetching() -> list[int]:
    """Our fetching processes."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            if int(parent) == os.getpid() and b"serve_app.fetch_child" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended since it was listed
    return found


async def test_cookies_are_sent_and_their_file_stays_as_it_is(host: PostHost, tmp_path: Path) -> None:
    jar = tmp_path / "cookies.txt"
    jar.write_text("# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tTRUE\t2000000000\tsession\tsecret\n")
    jar.chmod(0o400)
    before = jar.stat()
    await Fetcher(settings(host, cookies=jar)).fetch(host.video("a"), tmp_path / "out")
    assert {headers.get("cookie") for _, headers in host.asked} == {"session=secret"}
    assert (jar.stat().st_mtime_ns, jar.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


async def test_proxies_take_turns_and_a_hosts_own_comes_first(host: PostHost, tmp_path: Path) -> None:
    own = f"127.0.0.1:{host.port}"
    url = host.video("a")
    with proxy() as first, proxy() as second, proxy() as third:
        proxies = [first.url.replace("//", "//user:secret@"), second.url]
        fetcher = Fetcher(settings(host, proxies=proxies))
        for _ in range(3):
            await fetcher.fetch(url, tmp_path)
        assert first.tunnels == [own] * 4 and second.tunnels == [own] * 2
        assert first.credentials == ["user:secret"] * 4
        await Fetcher(settings(host, proxies=proxies, host_proxies={own: third.url})).fetch(url, tmp_path)
        await Fetcher(settings(host, proxies=proxies, host_proxies={own: ""})).fetch(url, tmp_path)
        assert third.tunnels == [own] * 2 and len(first.tunnels + second.tunnels) == 6


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_a_proxy_is_the_only_way_out_and_leads_to_no_private_address(
    host: PostHost, tmp_path: Path, scheme: str
) -> None:
    with proxy(scheme) as only:
        url = host.post("a", to="https://10.0.0.1/")
        assert (await problem(host, url, tmp_path, proxies=[only.url])).code == "address_not_allowed"
        assert only.tunnels == [f"127.0.0.1:{host.port}"]
        dead = only.url.replace("//", "//user:secret@")
    error = await problem(host, host.video("b"), tmp_path, proxies=[dead])
    assert error.code == "host_unreachable" and "secret" not in error.detail


async def test_proxies_and_keys_of_the_environment_are_not_taken(
    host: PostHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("HOME", str(tmp_path))
    settings_of_the_user = tmp_path / "yt-dlp.conf"
    settings_of_the_user.write_text("--proxy http://127.0.0.1:9\n--exec false\n")
    fetched = await Fetcher(settings(host)).fetch(host.video("a"), tmp_path / "out")
    assert fetched.bytes > 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"extractors": ["Generic"]}, "would take any site"),
        ({"extractors": ["all"]}, "would take any site"),
        ({"networks_allowed": ["home"]}, "fetch.networks_allowed"),
        ({"proxies": ["https://user:secret@127.0.0.1:1"]}, "fetch.proxies"),
        ({"host_proxies": {"tiktok.com": "127.0.0.1:1"}}, "fetch.proxies"),
        ({"hosts": ["https://tiktok.com"]}, "fetch.hosts"),
        ({"cookies": Path("/nowhere/cookies.txt")}, "fetch.cookies"),
        ({"plugins": [Path("/tmp")]}, "fetch.plugins"),
    ],
)
def test_a_setting_that_cannot_work_is_said_at_the_start(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        Fetcher(FetchSettings(**wrong))
    assert "secret" not in str(raised.value)


async def test_an_extractor_that_this_yt_dlp_does_not_have_is_named(host: PostHost, tmp_path: Path) -> None:
    error = await problem(host, host.video("a"), tmp_path, extractors=["PostHost", "Vine"])
    assert error.code == "extractor_broken" and "no extractor Vine" in error.detail
