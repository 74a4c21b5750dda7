"""Which addresses the service may connect to: public ones, whatever a URL, a redirect or a name server says.

`is_public` judges one resolved address. `guard_connections` holds a whole process to it, below every library: the
address that is judged is the one that is connected to, so redirects, other notations of an address and a name that
resolves differently the second time (DNS rebinding) make no difference.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Sequence
from typing import Any, Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Endpoint = tuple[str, int]
"""Host and port."""

# IANA's special-purpose address registry for IPv4 (RFC 6890 and its updates), and multicast.
_NOT_PUBLIC_V4: Final = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, and the metadata services of clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
# Only 2000::/3 is given out for global unicast (RFC 4291); these are the parts of it that are not.
_GLOBAL_V6: Final = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_V6: Final = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # Teredo among others: a v4 address is inside
        "2001:db8::/32",
        "2002::/16",  # 6to4: a v4 address is inside
        "3fff::/20",
    )
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_STARTS_PROCESSES: Final = frozenset(
    ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn")
)
_CONNECTS: Final = frozenset(("socket.connect", "socket.sendto", "socket.sendmsg"))


class AddressRefused(BaseException):
    """A connection to an address that is not allowed. Not an `Exception`: no library may take it for a host that is
    down, and try the next thing.
    """


def is_public(address: str, allowed: Sequence[str] = ()) -> bool:
    """Whether one resolved address is reachable by everybody, or in a network that is allowed all the same.

    Args:
        address: IPv4 or IPv6 in its usual notation. Names and other notations (decimal, octal) are not public.
        allowed: networks as "10.0.0.0/8".
    """
    try:
        parsed = _unmapped(ipaddress.ip_address(address))
    except ValueError:
        return False
    if any(parsed in network for network in networks_of(allowed)):
        return True
    if isinstance(parsed, ipaddress.IPv4Address):
        return not any(parsed in network for network in _NOT_PUBLIC_V4)
    if parsed in _NAT64:
        return is_public(str(ipaddress.IPv4Address(int(parsed) & 0xFFFF_FFFF)), allowed)
    return parsed in _GLOBAL_V6 and not any(parsed in network for network in _NOT_PUBLIC_V6)


def networks_of(allowed: Sequence[str]) -> list[Network]:
    """The networks that the texts name.

    Raises:
        ValueError: one is no network, or has bits set beyond its prefix.
    """
    return [ipaddress.ip_network(text) for text in allowed]


def check_host(host: str, allowed: Sequence[str] = ()) -> None:
    """Look a name up and refuse it if any of its addresses is not public; a name that is unknown here passes.

    For hosts that a proxy connects to: what the proxy's own name server answers is not seen from here.

    Raises:
        AddressRefused: with the name and the address.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return
    for *_, address in found:
        if not is_public(str(address[0]), allowed):
            raise AddressRefused(f"{host} is {address[0]}, which is not a public address")


def guard_connections(allowed: Sequence[str] = (), proxy: Endpoint | None = None) -> None:
    """Hold this process, for the rest of its life, to public addresses and to itself.

    From now on a connection or datagram to an address that is not public raises `AddressRefused`, and so does a Unix
    socket; starting another process raises `PermissionError`, which libraries take as a program that is not there.
    What native code connects to is not seen: give such libraries no URL.

    Args:
        allowed: networks as in `is_public`.
        proxy: if there is one, it is the only thing that may be connected to, wherever it is.
    """
    networks_of(allowed)  # a wrong one shows here and not at the first connection

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _CONNECTS and arguments[1] is not None:  # None: to where the socket is connected already
            _check_connection(arguments[1], allowed, proxy)
        elif event in _STARTS_PROCESSES:
            raise PermissionError(f"{event}: this process may not start others")

    sys.addaudithook(hook)


def _check_connection(target: Any, allowed: Sequence[str], proxy: Endpoint | None) -> None:
    if not isinstance(target, tuple):
        raise AddressRefused("a socket that is not of the internet")
    address, port = str(target[0]), target[1]
    if proxy is None:
        if not is_public(address, allowed):
            raise AddressRefused(f"{address} is not a public address")
    elif (address, port) not in _addresses_of(proxy):
        raise AddressRefused(f"{address}:{port} is not the proxy {proxy[0]}:{proxy[1]}")


def _addresses_of(endpoint: Endpoint) -> set[Endpoint]:
    found = socket.getaddrinfo(*endpoint, type=socket.SOCK_STREAM)
    return {(str(address[0]), int(address[1])) for *_, address in found}


def _unmapped(address: Address) -> Address:
    """The v4 address in a v4-mapped v6 address (RFC 4291, 2.5.5.2); others as they are."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
