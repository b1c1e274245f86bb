"""`generate` on the bench: a model that tells of every call, and what its ledger must say.

Not in the order of the plan, some attempts fail, some answers are refused, one request gets none.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from cache_store.manifest import newest_manifest
from cache_store.shards import read_table
from pipeline.generate import Limits
from pipeline.generate import generate as run
from pipeline.ledger import FILE_NAME
from pipeline.ledger_check import check_ledger
from pipeline.llm.base import Answer
from pipeline.llm.retry import Retrier, RetryPolicy
from pipeline.llm.scripted import Call, ScriptedBackend
from prompts.request import Request
from tests.pipeline.llm.requests import small_plan

CAPTIONS = 12
SENT = "sent "
_IN_FLIGHT = 3


def behave(call: Call) -> str:
    """What the model does: a function of the request, so that every run gets the same."""
    index = call.request.index
    if index == 1:
        return "server_error"  # at every attempt
    if index % 3 == 2 and call.attempt == 0:
        return "rate_limit"
    return "refusal" if index % 5 == 3 else "good"


class Telling(ScriptedBackend):
    """The scripted model, which says when it is called.

    Args:
        tell: Called with a mark at each call.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(behave)
        self._tell = tell

    async def answer(self, request: Request) -> Answer:
        """As `ScriptedBackend.answer`."""
        self._tell(f"{SENT}{request.id}")
        return await super().answer(request)


def generate(cache: Path, tell: Callable[[str], None] = lambda mark: None) -> Telling:
    """The command."""
    model = Telling(tell)
    run(
        cache,
        small_plan(per_request=2),
        model,
        CAPTIONS,
        limits=Limits(concurrency=_IN_FLIGHT, shard_rows=7),
        retrier=Retrier(RetryPolicy(attempts=2, base=0.0)),
    )
    return model


def generate_again(cache: Path) -> None:
    """The command after an accident: what has an answer, or was given up, is not asked again."""
    _, answered, given_up = read(cache)
    model = generate(cache)
    again = (answered | given_up) & set(model.actor.calls)
    assert not again, f"asked again: {again}"


def look(cache: Path, marks: Sequence[str]) -> None:
    """What was sent is in the ledger, and so is every answer that a published caption is from."""
    if not cache.exists():
        assert not marks
        return
    faults = check_ledger(cache)
    assert not faults, faults
    attempts, answered, _ = read(cache)
    sent = {mark.removeprefix(SENT) for mark in marks}
    assert sent <= attempts, "sent, and not marked as an attempt"
    assert published(cache) <= answered, "published, and its answer is not in the ledger"


def published(cache: Path) -> set[str]:
    """The requests that published captions are from."""
    manifest = newest_manifest(cache)
    if manifest is None:
        return set()
    tables = [read_table(cache / entry.path) for entry in manifest.captions]
    return {name for table in tables for name in table.column("request_id").to_pylist()}


def read(cache: Path) -> tuple[set[str], set[str], set[str]]:
    """Request ids of attempts, answers, and what was given up."""
    attempts, answers, given_up = (
        {name for (name,) in rows(cache, table, "request_id")}
        for table in ("attempts", "answers", "given_up")
    )
    return attempts, answers, given_up


def rows(cache: Path, table: str, columns: str) -> list[tuple[Any, ...]]:
    """The rows of a table of the ledger, [] without it; on a copy, since reading writes."""
    if not (cache / FILE_NAME).exists():
        return []
    with tempfile.TemporaryDirectory(dir=cache.parent.parent) as folder:
        for path in cache.glob(f"{FILE_NAME}*"):
            shutil.copy(path, folder)
        with closing(sqlite3.connect(Path(folder) / FILE_NAME)) as connection:
            there = "SELECT count(*) FROM sqlite_master WHERE name = ?"
            if not connection.execute(there, (table,)).fetchone()[0]:
                return []
            return connection.execute(f"SELECT {columns} FROM {table}").fetchall()
