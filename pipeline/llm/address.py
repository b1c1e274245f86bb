"""Addresses of servers: on this machine or not, and in a form that may be shown."""

from __future__ import annotations

import contextlib
import ipaddress
from urllib.parse import urlsplit, urlunsplit

from cache_store.errors import UsageError


def is_loopback(url: str) -> bool:
    """Whether an address is on this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def public_address(url: str) -> str:
    """Return an address without user names, passwords and query, fit to be shown.

    Raises:
        UsageError: If it is not the address of a server.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(
            "not the address of a server",
            expected="http://HOST:PORT/v1",
            found=repr(url) if "@" not in url else "another scheme",
        )
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
