"""The calls to a server with the Batch API, made with patience.

Nothing is ever sent twice because an answer was lost: before a file is uploaded or a batch made,
the server's own lists are searched for it, and after every failure searched again. What only reads,
or does no harm twice (delete, cancel), is simply repeated. Files are read as they come, line by
line, so their size does not matter.

The key is sent to the server and kept nowhere else: not in an error, a log, a repr or a file.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import IO, TYPE_CHECKING, TypeVar

from cache_store.errors import AuthenticationError, RemoteError
from pipeline.llm.address import is_loopback, public_address
from pipeline.llm.base import AttemptFailed
from pipeline.llm.batch.faults import Faults, NotThere
from pipeline.llm.batch.rounds import FORMAT, file_name
from pipeline.llm.openai_server import KEY_VARIABLE, NO_KEY
from pipeline.llm.retry import RetryPolicy

if TYPE_CHECKING:
    from openai.types import Batch

TIMEOUT = 600.0  # seconds for one call: an input file may take minutes to go up a slow line
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
LONGEST_LINE = 4 * 2**20  # bytes of a line that is read; a longer one is damaged

_MOST_LISTED = 100  # batches a page
_KEPT_DAYS = 31  # after this many days the server has no files of a batch any more

_T = TypeVar("_T")


class BatchServer:
    """A client of the Batch API of one server.

    Args:
        base_url: The server's address with its version ("https://api.openai.com/v1").
        api_key: The key; None where a server on this machine needs none.
        policy: How often a call is made again, and how long is waited before.
        sleep: Waits; replaced in tests.

    Attributes:
        address: The server's address, fit to be shown.

    Raises:
        AuthenticationError: If there is no key for a server that is not on this machine.
        UsageError: If the address is not one.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        policy: RetryPolicy | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        import openai

        self.address = public_address(base_url)
        local = is_loopback(base_url)
        if not api_key and not local:
            raise AuthenticationError(
                "no key for this server",
                where=self.address,
                hint=f"Set the environment variable {KEY_VARIABLE}",
            )
        self._faults = Faults(self.address, api_key or "")
        self._policy = policy or RetryPolicy()
        self._sleep = sleep
        self._rng = random.Random()
        # A proxy of the environment is for the world outside, not for this machine.
        transport = openai.DefaultAsyncHttpxClient(trust_env=False) if local else None
        self._client = openai.AsyncOpenAI(
            base_url=base_url,
            api_key=api_key or NO_KEY,
            max_retries=0,
            timeout=openai.Timeout(TIMEOUT, connect=10.0),
            http_client=transport,
        )

    def __repr__(self) -> str:
        return f"BatchServer(base_url={self.address!r})"

    def shown(self, words: str) -> str:
        """The server's words, fit to be shown: short, and without the key."""
        return self._faults.shown(words)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def recent(self) -> list[Batch]:
        """The batches of lqtse whose files the server may still have, newest first."""

        async def once() -> list[Batch]:
            found, oldest = [], None
            async for batch in self._client.batches.list(limit=_MOST_LISTED):
                oldest = oldest or batch.created_at - _KEPT_DAYS * 86_400
                if batch.created_at < oldest:
                    break
                if (batch.metadata or {}).get("lqtse") == FORMAT:
                    found.append(batch)
            return found

        return await self._patiently(once)

    async def submit(
        self,
        name: str,
        content: IO[bytes],
        *,
        endpoint: str,
        carried: dict[str, str],
        others: Collection[str],
    ) -> Batch:
        """Make a batch, unless the server has it already.

        Args:
            name: The name of its round.
            content: Its input file, open for reading.
            endpoint: Where its requests go ("/v1/chat/completions").
            carried: Its metadata, with the round's name.
            others: Batches of the same round that are known, and not meant.

        Returns:
            The batch, new or found.

        Raises:
            RemoteError: If the server will not have it.
        """

        async def once() -> Batch:
            found = await self._find(name, others)
            if found is not None:
                return found
            file_id = await self._stored(name, content)
            return await self._create(file_id, endpoint, carried)

        return await self._patiently(once)

    async def batch(self, batch_id: str) -> Batch:
        """How a batch stands.

        Raises:
            NotThere: If the server has none of this name.
            RemoteError: If it cannot be asked.
        """
        return await self._patiently(lambda: self._client.batches.retrieve(batch_id))

    async def cancel(self, batch_id: str) -> None:
        """Ask the server to give up a batch; harmless if it has ended.

        Raises:
            NotThere: If the server has none of this name.
            RemoteError: If it cannot be asked.
        """

        async def once() -> None:
            if (await self._client.batches.retrieve(batch_id)).status not in ENDED:
                await self._client.batches.cancel(batch_id)

        await self._patiently(once)

    async def input_file(self, name: str) -> str | None:
        """The id of the input file of a round, None if the server has none."""

        async def once() -> str | None:
            async for file in self._client.files.list(purpose="batch"):
                if file.filename == file_name(name):
                    return file.id
            return None

        return await self._patiently(once)

    async def each_line(self, file_id: str, take: Callable[[bytes], None]) -> None:
        """Hand each line of a file on, as it comes; from the beginning again if it is cut short.

        A line of more than `LONGEST_LINE` bytes is handed on as far as it was read.

        Args:
            file_id: The file.
            take: Called with each line, without its end, and again for lines it has had.

        Raises:
            NotThere: If the server has no such file.
            RemoteError: If it cannot be read.
        """

        async def once() -> None:
            rest, skipping = bytearray(), False
            async with self._client.files.with_streaming_response.content(file_id) as response:
                async for piece in response.iter_bytes():
                    *whole, last = piece.split(b"\n")
                    for end in whole:
                        if not skipping:
                            take(bytes(rest + end))
                        rest, skipping = bytearray(), False
                    if not skipping:
                        rest += last
                    if len(rest) > LONGEST_LINE:
                        take(bytes(rest))
                        rest, skipping = bytearray(), True
            if rest:
                take(bytes(rest))

        await self._patiently(once)

    async def delete(self, file_id: str) -> bool:
        """Delete a file; False, and no error, if that did not work."""

        async def once() -> None:
            await self._client.files.delete(file_id)

        try:
            with suppress(NotThere):
                await self._patiently(once)
        except RemoteError:
            return False
        return True

    async def _find(self, name: str, others: Collection[str]) -> Batch | None:
        for batch in await self.recent():
            carried = batch.metadata or {}
            if carried.get("round") == name and batch.id not in others and is_of_use(batch):
                return batch
        return None

    async def _stored(self, name: str, content: IO[bytes]) -> str:
        """The id of the round's input file at the server, uploaded if it is not there."""
        size = content.seek(0, 2)
        async for file in self._client.files.list(purpose="batch"):
            if (file.filename, file.bytes) == (file_name(name), size):
                return file.id
        content.seek(0)
        return (
            await self._client.files.create(file=(file_name(name), content), purpose="batch")
        ).id

    async def _create(self, file_id: str, endpoint: str, carried: dict[str, str]) -> Batch:
        import openai

        make = self._client.batches.create
        try:
            return await make(
                input_file_id=file_id,
                endpoint=endpoint,  # type: ignore[arg-type]
                completion_window="24h",
                metadata=carried,
            )
        except (openai.BadRequestError, openai.NotFoundError) as error:
            if file_id in str(error):
                # A file that was only just uploaded is not always known everywhere at once.
                late = RemoteError(
                    "the server does not find the file that it was sent",
                    where=self.address,
                    hint="Run the same command later",
                )
                raise AttemptFailed("no_file", late) from None
            raise

    async def _patiently(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """Make a call, again if it fails in a way that may pass."""
        caught: tuple[type[Exception], ...] = (*self._faults.caught, AttemptFailed)
        for number in range(1, self._policy.attempts + 1):
            try:
                return await call()
            except caught as error:
                failure = self._faults.translated(error)
                if not isinstance(failure, AttemptFailed):
                    raise failure from None
                if number == self._policy.attempts:
                    raise failure.error from None
                await self._sleep(self.pause(number, failure))
        raise AssertionError("a policy of no attempts")  # pragma: no cover

    def pause(self, number: int, failure: AttemptFailed | None = None) -> float:
        """Seconds to wait after failure number `number`, jittered; at least what was asked."""
        ceiling = min(self._policy.base * 2 ** (number - 1), self._policy.ceiling)
        asked = min((failure and failure.retry_after) or 0.0, self._policy.longest_wait)
        return asked + self._rng.uniform(0.0, ceiling)


def is_of_use(batch: Batch) -> bool:
    """Whether a batch has answers, or will have some."""
    return batch.status not in ENDED or bool(batch.output_file_id)
