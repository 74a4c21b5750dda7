"""Understands tests/serve_app/post_host/server.py, the way yt-dlp's extractors understand a post host."""

import os
import signal
import subprocess

from yt_dlp.extractor.common import InfoExtractor
from yt_dlp.utils import ExtractorError


class PostHostIE(InfoExtractor):
    _VALID_URL = r"(?P<site>https://127\.0\.0\.1:\d+)/@\w+/video/(?P<id>[\w-]+)"

    def _real_extract(self, url):
        site, post_id = self._match_valid_url(url).group("site", "id")
        post = self._download_json(f"{site}/api/{post_id}", post_id)
        match post.get("status"):
            case "login":
                self.raise_login_required("Log in for access")
            case "blocked":
                self.raise_geo_restricted(countries=["FR"])
            case "no":
                raise ExtractorError(post["message"], expected=True)
            case "list":
                return self.playlist_result([self.url_result(f"{site}/@a/video/{name}") for name in post["posts"]], "1")
            case "moved":
                return self.url_result(post["url"])
            case "generic":
                return self.url_result(post["url"], ie="Generic")
            case "start":
                subprocess.run(["touch", "started"], check=True)
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "eat":
                return {"id": post_id, "title": "x" * 8 * 1024**3}
        return {
            "id": post_id,
            "title": post["title"],
            "uploader": post.get("uploader"),
            "duration": post.get("duration"),
            "is_live": post.get("is_live"),
            "formats": [
                *({"url": f"{site}{entry.pop('path')}", **entry} for entry in post.get("files", ())),
                *(self._extract_m3u8_formats(f"{site}{post['hls']}", post_id, "mp4") if post.get("hls") else ()),
            ],
        }


class BareHostIE(PostHostIE):
    _VALID_URL = r"https://127\.0\.0\.1:\d+/bare/(?P<id>\w+)"

    def _real_extract(self, url):
        return {"id": 1 / 0}
