"""TCP ports of this machine: which is free, whether one is open, and who listens at it."""

from __future__ import annotations

import ipaddress
import math
import socket
from urllib.parse import urlsplit

import psutil

CONNECT_TIMEOUT_S = 5.0
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def listener_pid(url: str) -> int | None:
    """The local process that listens at the URL's host and port: the oldest, where several share the socket.

    None when the host is not this machine, nothing listens there, or the owner may not be seen.
    """
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    wanted = _addresses(parts.hostname or "")
    local = {entry.address for entries in psutil.net_if_addrs().values() for entry in entries}
    if not any(address.is_loopback or str(address) in local for address in wanted):
        return None
    try:
        found = psutil.net_connections(kind="tcp")
    except (psutil.AccessDenied, OSError):
        return None
    listening = [(one.pid, tuple(one.laddr)) for one in found if one.status == psutil.CONN_LISTEN and one.pid and one.laddr]
    pids = {pid for pid, place in listening if pid and place[1] == port and _serves(str(place[0]), wanted)}
    return min(pids, key=_started, default=None)


def free_port() -> int:
    """A TCP port of the loopback interface that nothing uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_open(host: str, port: int) -> bool:
    """Whether something accepts connections there."""
    try:
        socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S).close()
    except OSError:
        return False
    return True


def _addresses(host: str) -> set[Address]:
    try:
        return {ipaddress.ip_address(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except (OSError, ValueError):
        return set()


def _serves(listening: str, wanted: set[Address]) -> bool:
    """Whether a socket bound to `listening` takes connections to one of `wanted`; the unspecified addresses take all."""
    address = ipaddress.ip_address(listening)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address.is_unspecified or address in wanted


def _started(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return math.inf
