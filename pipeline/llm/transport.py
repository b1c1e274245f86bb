"""One HTTP POST to one server, by aiohttp.

The `openai` package would do it too, but it checks and rebuilds each message in Python: see
benchmarks/README.md for what a request costs with it and with this. Connections are kept and
reused; the number of requests in flight is for the caller to bound. No redirect is followed, so a
key goes only where the user said; .netrc is not read.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from pipeline.llm.address import is_loopback, public_address

if TYPE_CHECKING:
    import aiohttp

CONNECT_TIMEOUT = 10.0  # seconds
# Seconds for which an idle connection is kept: less than the 5 after which common servers close it,
# so that no request is lost on a connection that is just being closed.
_KEEP_ALIVE = 4.0


@dataclass(frozen=True)
class Reply:
    """What a server sent.

    Attributes:
        status: The HTTP status.
        headers: By name, whatever its case.
        body: As it came.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class NoReply(Exception):
    """No whole reply came.

    Attributes:
        kind: "refused" when the request cannot have been sent, "lost" when it may have been, or
            "timeout".
        reason: In a word, without anything secret.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


class Transport:
    """Connections to one server; use it inside one event loop.

    Args:
        base_url: Its address, perhaps with a user name and a password, which are then sent in
            place of the key.
        key: The bearer token, None to send none.
        timeout: Seconds for one reply, connecting included.
    """

    def __init__(self, base_url: str, *, key: str | None, timeout: float) -> None:
        import aiohttp  # noqa: F401 - here and not at the first request, which it would hold up

        self._base, self._query = _without_credentials(base_url)
        self._timeout = timeout
        self._headers = {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "User-Agent": "lqtse",
        }
        login = _login(base_url)
        if login is not None:
            self._headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
        elif key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._secure = urlsplit(base_url).scheme == "https"
        # A proxy of the environment is for the world outside, not for this machine.
        self._proxy = None if is_loopback(base_url) else _proxy(base_url)
        self._session: aiohttp.ClientSession | None = None

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Send one request.

        Args:
            path: After the base address ("/chat/completions").
            body: JSON.
            headers: Further headers.

        Raises:
            NoReply: If no whole reply came.
        """
        import aiohttp

        session = self._session or self._open()
        try:
            async with session.post(
                self._base + path + self._query,
                data=body,
                headers=headers,
                proxy=self._proxy,
                allow_redirects=False,
            ) as response:
                return Reply(response.status, response.headers, await response.read())
        except aiohttp.ConnectionTimeoutError as error:
            raise NoReply("refused", type(error).__name__) from None
        except (asyncio.TimeoutError, TimeoutError):
            raise NoReply("timeout", "no answer in time") from None
        except aiohttp.ClientConnectorError as error:
            raise NoReply("refused", type(error).__name__) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NoReply("lost", type(error).__name__) from None

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp

        connector = aiohttp.TCPConnector(
            limit=0, keepalive_timeout=_KEEP_ALIVE, ssl=self._secure and self._certificates
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(total=self._timeout, sock_connect=CONNECT_TIMEOUT),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self._session

    @cached_property
    def _certificates(self) -> ssl.SSLContext | bool:
        """The system's certificates; certifi's where the system has none, as in slim images."""
        if not self._base.startswith("https"):
            return True
        paths = ssl.get_default_verify_paths()
        if not paths.cafile and not (paths.capath and any(Path(paths.capath).iterdir())):
            with suppress(ImportError):
                import certifi

                return ssl.create_default_context(cafile=certifi.where())
        return ssl.create_default_context()


def _without_credentials(base_url: str) -> tuple[str, str]:
    """What comes before and after the path of a request."""
    query = urlsplit(base_url).query
    return public_address(base_url).rstrip("/"), f"?{query}" if query else ""


def _login(base_url: str) -> str | None:
    parts = urlsplit(base_url)
    if parts.username is None:
        return None
    return f"{unquote(parts.username)}:{unquote(parts.password or '')}"


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for this address."""
    parts = urlsplit(url)
    if proxy_bypass(parts.netloc):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")
