"""An https server that plays a post host, and a proxy in front of it. Both count what they were asked."""

from __future__ import annotations

import base64
import json
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import BaseRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

import trustme


@dataclass
class PostHost:
    """The host's content: what /api/ID answers, and what lies under /media/NAME.

    A post is the JSON that the extractor reads; `{"http": 429}` answers that status and `{"to": URL}` redirects.
    A media path may say how it is sent: ?to=URL redirects, ?size=none hides the length, ?endless=1 never ends,
    and with &slow=1 pauses each time.
    """

    port: int
    ca_file: Path
    posts: dict[str, dict[str, Any]] = field(default_factory=dict)
    media: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    @property
    def site(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def post(self, name: str, **answer: Any) -> str:
        """Add a post; its URL."""
        self.posts[name] = answer
        return f"{self.site}/@anna/video/{name}"

    def video(self, name: str, path: str = "/media/clip.mp4", **more: Any) -> str:
        """A post with one file of picture and sound."""
        file = {"path": path, "ext": "mp4", "vcodec": "h264", "acodec": "aac", "height": 568, "width": 320}
        return self.post(name, **({"title": f"Post {name}", "files": [file]} | more))


@contextmanager
def post_host(folder: Path) -> Iterator[PostHost]:
    """A running post host on a free port of 127.0.0.1."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    server = _Server(("127.0.0.1", 0), _Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.host = PostHost(server.server_address[1], folder / "ca.pem")
    with _serving(server):
        yield server.host


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    host: PostHost

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up in the middle is what many tests are about."""


@contextmanager
def _serving(server: ThreadingHTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: tests read `asked`."""

    def do_GET(self) -> None:
        host = self.server.host
        host.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        parts = urlsplit(self.path)
        kind, _, name = parts.path[1:].partition("/")
        if kind == "api":
            self._post(host.posts.get(name, {"http": 404}))
        elif kind == "media":
            self._file(host.media[name], {key: values[0] for key, values in parse_qs(parts.query).items()})
        else:
            self.send_error(404)

    def _post(self, post: dict[str, Any]) -> None:
        if "http" in post:
            self.send_error(post["http"])
        elif "to" in post:
            self._redirect(post["to"])
        else:
            self._send(json.dumps(post).encode())

    def _file(self, body: bytes, how: dict[str, str]) -> None:
        if "to" in how:
            self._redirect(how["to"])
        elif "endless" in how:
            self._send(body, sized=False, endless_s=0.1 if "slow" in how else 0.0)
        else:
            self._send(body, sized=how.get("size") != "none")

    def _redirect(self, to: str) -> None:
        self.send_response(302)
        self.send_header("Location", to)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, body: bytes, sized: bool = True, endless_s: float | None = None) -> None:
        """The body once, or again and again with a pause."""
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        if sized:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        while endless_s is not None:
            time.sleep(endless_s)
            self.wfile.write(body)


@dataclass
class Proxy:
    """A proxy (RFC 9110, 9.3.6, or SOCKS 5) and where it was asked to connect to."""

    port: int
    scheme: str
    tunnels: list[str] = field(default_factory=list)
    credentials: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"


@contextmanager
def proxy(scheme: str = "http") -> Iterator[Proxy]:
    """A running proxy on a free port of 127.0.0.1, by CONNECT or SOCKS 5."""
    server = _ProxyServer(("127.0.0.1", 0), _Tunnel if scheme == "http" else _SocksTunnel)
    server.proxy = Proxy(server.server_address[1], scheme)
    with _serving(server):
        yield server.proxy


class _ProxyServer(ThreadingHTTPServer):
    daemon_threads = True
    proxy: Proxy


class _Tunnel(BaseHTTPRequestHandler):
    server: _ProxyServer

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: tests read `tunnels`."""

    def do_CONNECT(self) -> None:
        self.server.proxy.tunnels.append(self.path)
        if given := self.headers.get("Proxy-Authorization"):
            self.server.proxy.credentials.append(base64.b64decode(given.split()[1]).decode())
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port))) as far:
            self.send_response(200)
            self.end_headers()
            _pass_on(self.connection, far)


class _SocksTunnel(BaseRequestHandler):
    """SOCKS 5 without a login, to names and IPv4 addresses (RFC 1928)."""

    server: _ProxyServer

    def handle(self) -> None:
        near: socket.socket = self.request
        near.recv(2 + 255)  # what logins the client knows
        near.sendall(b"\x05\x00")
        kind = near.recv(4)[3]
        host = near.recv(near.recv(1)[0]).decode() if kind == 3 else socket.inet_ntoa(near.recv(4))
        port = int.from_bytes(near.recv(2), "big")
        self.server.proxy.tunnels.append(f"{host}:{port}")
        with socket.create_connection((host, port)) as far:
            near.sendall(b"\x05\x00\x00\x01" + bytes(6))
            _pass_on(near, far)


def _pass_on(near: socket.socket, far: socket.socket) -> None:
    """Bytes both ways until one side ends."""
    ends = {near: far, far: near}
    with suppress(OSError):
        while ready := select.select(list(ends), [], [], 30)[0]:
            for end in ready:
                data = end.recv(65536)
                if not data:
                    return
                ends[end].sendall(data)
