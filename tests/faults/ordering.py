"""`generate --backend openai-batch` on the bench: a server that remembers, and what must hold.

The scripted server speaks HTTP in the process that has the accident, but every call is in a file
beyond their reach (`memory`) before anything comes of it, so the next run finds the server as the
last one left it. From that file alone follows what was ordered and paid, whatever the disk says.

One batch ends early, some requests fail once, one always.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.generate import Limits
from pipeline.generate import generate as run
from pipeline.ledger_check import check_ledger
from pipeline.llm import scripted
from pipeline.llm.batch.model import BatchModel, BatchOptions
from pipeline.llm.batch.remote import ENDED, BatchServer
from pipeline.llm.retry import RetryPolicy
from pipeline.llm.scripted_batches import BatchScript
from pipeline.llm.scripted_server import ScriptedServer
from tests.faults.asking import published, read, rows
from tests.faults.memory import lines_of, memory_of
from tests.pipeline.llm.requests import small_plan

ADDRESS = "http://scripted.test/v1"  # what the book calls it, whichever port it listens on
CAPTIONS = 8
_PLAN = small_plan(per_request=2)
_PLACES = {_PLAN.request(place).id: place for place in range(100)}
_OPTIONS = BatchOptions(requests=4, batches=2, poll=1e-3, note=lambda text: None)
_ENDINGS = ("expired", "completed")

Call = tuple[str, str, Mapping[str, str], bytes]
_BEGIN: Call = ("BEGIN", "", {}, b"")  # another client comes


def behave(call: scripted.Call) -> str:
    """What the model does: a function of the request, so that every run gets the same."""
    place = _PLACES[call.request.id]
    if place == 4:
        return "server_error"  # at every attempt
    if place % 3 == 2 and call.attempt == 0:
        return "rate_limit"
    return "refusal" if place % 5 == 3 else "good"


class Account:
    """The server as it is after some calls; follows them, and checks them.

    Args:
        calls: All that it was ever called.

    Attributes:
        server: Not started.
        rounds: The requests of each batch, by the name of its round.
        waiting: The requests of each batch that has not ended, by its id.
        paid: Requests that were answered.
        deleted: Those whose answers the server does not have any more.

    Raises:
        AssertionError: If something was ordered twice, or without a look at what is there.
    """

    def __init__(self, calls: Iterable[Call] = ()) -> None:
        self._record: Callable[..., None] | None = None
        self.server = ScriptedServer(
            behave, batches=BatchScript(endings=_ENDINGS, record=self._heard)
        )
        self.rounds: dict[str, set[str]] = {}
        self.waiting: dict[str, set[str]] = {}
        self.paid: set[str] = set()
        self.deleted: set[str] = set()
        self._answers: dict[str, set[str]] = {}
        self._looked = False
        for call in calls:
            self._follow(*call)

    @contextmanager
    def open(self, record: Callable[..., None]) -> Iterator[BatchServer]:
        """Let the server run, and tell of its calls; yields a client."""
        self._record = record
        with self.server as server:
            client = BatchServer(server.url, policy=RetryPolicy(base=0.0))
            client.address = ADDRESS
            yield client

    def _heard(self, *call: object) -> None:
        if self._record is not None:
            self._record(*call)

    def _follow(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> None:
        if method == "BEGIN":
            self._looked = False
            return
        what, *about = urlsplit(target).path.rpartition("/v1/")[2].split("/")
        stored = self.server.batches.files.stored
        if method == "GET" and what == "batches" and not about:
            self._looked = True
        if method == "POST" and not about:
            assert self._looked, "sent before a look at what is there"
        asked = set()
        if (method, what) == ("POST", "batches") and not about:
            asked = _ids(stored[json.loads(body)["input_file_id"]])
            assert not asked & self.paid, "asked again, and paid twice"
            for others in self.waiting.values():
                assert not asked & others, "in two batches at once"
        if (method, what) == ("DELETE", "files"):
            self.deleted |= self._answers.get(about[0], set())
        reply = self.server.batches.handle(method, target, headers, body)
        assert reply is not None
        if what == "batches" and (asked or len(about) == 1):
            self._note(json.loads(reply.content), asked)

    def _note(self, batch: Mapping[str, object], asked: set[str]) -> None:
        """What the server says of a batch."""
        name = str(batch["id"])
        if asked:
            self.waiting[name] = asked
            metadata = batch["metadata"]
            assert isinstance(metadata, dict)
            self.rounds[metadata["round"]] = asked
        elif batch["status"] in ENDED and name in self.waiting:
            del self.waiting[name]
            if (file := batch.get("output_file_id")) is not None:
                self._answers[str(file)] = _ids(self.server.batches.files.stored[str(file)])
                self.paid |= self._answers[str(file)]


def _ids(lines: bytes) -> set[str]:
    return {json.loads(line)["custom_id"] for line in lines.splitlines()}


def calls_of(cache: Path) -> list[Call]:
    """What the server was ever called about this cache."""
    spelled = (json.loads(line) for line in lines_of(cache.parent))
    return [
        (method, target, head, base64.b64decode(body)) for method, target, head, body in spelled
    ]


@contextmanager
def server_of(cache: Path, tell: Callable[[str], None]) -> Iterator[BatchServer]:
    """The server that this cache orders from, as it was left; yields a client."""
    account = Account(calls_of(cache))
    with memory_of(cache.parent).open("ab", buffering=0) as file:

        def record(method: str, target: str, headers: Mapping[str, str], body: bytes) -> None:
            kind = headers.get("content-type", "")
            # The same in every run, so that equal states look equal.
            _, _, boundary = kind.partition("boundary=")
            if boundary:
                kind = kind.replace(boundary, "boundary")
                body = body.replace(boundary.encode(), b"boundary")
            spelled = (method, target, {"content-type": kind}, base64.b64encode(body).decode())
            file.write(json.dumps(spelled).encode() + b"\n")
            tell(f"{method} {target}")

        record(*_BEGIN)
        with account.open(record) as client:
            yield client


def order(cache: Path, tell: Callable[[str], None] = lambda mark: None) -> None:
    """`generate --backend openai-batch`."""
    with server_of(cache, tell) as client:
        model = BatchModel("scripted", client)
        source = model.source(_OPTIONS)
        run(cache, _PLAN, model, CAPTIONS, limits=Limits(shard_rows=7), source=source)


def order_again(cache: Path) -> None:
    """The command after an accident; then nothing is left at the server that the book forgot."""
    order(cache)
    account = Account(calls_of(cache))
    _, answered, _ = read(cache)
    assert account.deleted <= answered
    held = set().union(*account.waiting.values()) if account.waiting else set()
    assert account.paid | held >= answered
    # A run that got all it wanted may end before the disk took down that it is done with a batch.
    states = {state for (state,) in rows(cache, "batches", "state")}
    if not account.waiting and states == {"done"}:
        assert account.server.batches.files.stored == {}, "files are left at the server"


def look(cache: Path, marks: Sequence[str]) -> None:
    """What was ordered is in the book, and what the server has deleted in the ledger."""
    account = Account(calls_of(cache))
    if not cache.exists():
        assert not account.rounds
        return
    faults = check_ledger(cache)
    assert not faults, faults
    _, answered, _ = read(cache)
    booked = {name for (name,) in rows(cache, "batches", "round")}
    assert account.rounds.keys() <= booked, "ordered, and not in the book"
    assert account.deleted <= answered, "deleted at the server, and not in the ledger"
    assert answered <= account.paid
    assert published(cache) <= answered, "published, and its answer is not in the ledger"
