"""Which addresses are public, and a process that can connect to no others."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from serve_app.addresses import AddressRefused, check_host, is_public

ROOT = Path(__file__).resolve().parents[2]

PUBLIC = [
    "1.1.1.1",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.1",
    "198.17.255.255",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001::1",
    "2001:200::1",
    "::ffff:1.1.1.1",
    "64:ff9b::1.1.1.1",
]
NOT_PUBLIC = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:a00:1",
    "::ffff:169.254.169.254",
    "64:ff9b::10.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1.1.1.1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:101:101::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456:789a::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]
OTHER_NOTATIONS = ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "1.1.1", "010.1.1.1", "localhost", "", "1.1.1.1 "]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", NOT_PUBLIC + OTHER_NOTATIONS)
def test_private_special_and_oddly_written_addresses_are_not(address: str) -> None:
    assert not is_public(address)


def test_a_network_that_is_allowed_counts_in_every_form_of_its_addresses() -> None:
    assert is_public("10.1.2.3", ["10.0.0.0/8"])
    assert is_public("::ffff:10.1.2.3", ["10.0.0.0/8"])
    assert is_public("64:ff9b::10.1.2.3", ["10.0.0.0/8"])
    assert is_public("fd00::1", ["10.0.0.0/8", "fd00::/8"])
    assert not is_public("192.168.1.1", ["10.0.0.0/8", "fd00::/8"])
    with pytest.raises(ValueError, match="has host bits set"):
        is_public("10.0.0.1", ["10.0.0.1/8"])


def test_a_host_is_refused_by_what_its_name_resolves_to() -> None:
    for host in ("localhost", "127.0.0.1", "2130706433", "0x7f.1"):
        with pytest.raises(AddressRefused, match="not a public address"):
            check_host(host)
    check_host("127.0.0.1", ["127.0.0.0/8"])
    check_host("name.invalid")  # unknown here: the proxy's affair


def guarded(statements: str, guard: str = "") -> str:
    """What a fresh process prints that runs the statements under the guard; the name of what they raise otherwise."""
    code = f"""
import socket, subprocess, os, sys
from serve_app.addresses import guard_connections
guard_connections({guard})
try:
{chr(10).join("    " + line for line in statements.splitlines())}
    print("no error")
except BaseException as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def listener() -> socket.socket:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "::ffff:127.0.0.1", "169.254.169.254"]
)
def test_a_guarded_process_connects_to_no_private_address_however_it_is_written(
    host: str, listener: socket.socket
) -> None:
    said = guarded(f"socket.create_connection(({host!r}, {listener.getsockname()[1]}), timeout=5)")
    assert said.startswith("AddressRefused") and "not a public address" in said
    listener.settimeout(0.05)
    with pytest.raises(TimeoutError):
        listener.accept()


def test_a_name_given_to_the_kernel_is_refused_because_nobody_can_check_what_it_becomes(
    listener: socket.socket,
) -> None:
    port = listener.getsockname()[1]
    said = guarded(f"socket.socket().connect(('localhost', {port}))", "['127.0.0.0/8']")
    assert said == "AddressRefused localhost is not a public address"


def test_libraries_that_swallow_every_exception_do_not_swallow_the_refusal() -> None:
    tried = "try:\n    socket.create_connection(('10.0.0.1', 80), timeout=1)\nexcept Exception:\n    pass"
    assert guarded(tried).startswith("AddressRefused 10.0.0.1")


@pytest.mark.parametrize(
    "statement",
    [
        "socket.socket().connect_ex(('10.0.0.1', 80))",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.168.0.1', 53))",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendmsg([b'x'], [], 0, ('192.168.0.1', 53))",
        "socket.socket(socket.AF_INET6).connect(('fe80::1', 80, 0, 1))",
        "socket.socket(socket.AF_UNIX).connect('/var/run/docker.sock')",
        "__import__('urllib.request').request.urlopen('http://127.0.0.1:9/')",
        "__import__('httpx').get('http://127.0.0.1:9/')",
        "__import__('requests').get('http://127.0.0.1:9/')",
    ],
)
def test_no_way_out_is_forgotten(statement: str) -> None:
    assert guarded(statement).startswith("AddressRefused")


@pytest.mark.parametrize(
    "statement",
    [
        "subprocess.run(['true'])",
        "os.system('true')",
        "os.popen('true')",
        "os.fork()",
        "os.execv('/bin/true', ['true'])",
        "os.posix_spawn('/bin/true', ['true'], {})",
    ],
)
def test_a_guarded_process_starts_no_other(statement: str) -> None:
    assert guarded(statement).startswith("PermissionError")


def test_what_is_allowed_is_reached(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    assert guarded(f"socket.create_connection(('127.0.0.1', {port}))", "['127.0.0.1/32']") == "no error"
    pair = "a, b = socket.socketpair()\na.sendmsg([b'x'])"
    assert guarded(pair) == "no error"


def test_with_a_proxy_only_the_proxy_is_reached(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    proxy = f"[], ('localhost', {port})"
    assert guarded(f"socket.create_connection(('127.0.0.1', {port}))", proxy) == "no error"
    assert guarded(f"socket.create_connection(('127.0.0.1', {port + 1}))", proxy).startswith("AddressRefused")
    assert "is not the proxy" in guarded("socket.create_connection(('1.1.1.1', 443))", proxy)


def test_a_network_that_is_none_is_said_at_once() -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        is_public("1.1.1.1", ["home"])
