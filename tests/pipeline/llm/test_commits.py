from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cache_store.errors import StorageError
from pipeline.ledger import Ledger, open_ledger
from pipeline.llm.amount import NOTHING, Amount
from pipeline.llm.base import Answer
from pipeline.llm.commits import Commits

ANSWER = Answer("a dog barks", "stop", 10, 3, "m")


def counting(ledger: Ledger) -> list[int]:
    """Fills with the number of writes of each transaction."""
    sizes: list[int] = []
    together = ledger.transactions.together

    async def counted(writes: list[object]) -> list[object]:
        sizes.append(len(writes))
        return await together(writes)  # type: ignore[arg-type]

    ledger.transactions.together = counted  # type: ignore[method-assign,assignment]
    return sizes


def test_what_comes_while_one_is_written_goes_together(tmp_path: Path) -> None:
    async def one(commits: Commits, number: int) -> None:
        mark = await commits.begin(f"r{number}", Amount(0.5))
        await commits.store(mark, f"r{number}", ANSWER, 0.1)

    async def go(ledger: Ledger) -> list[int]:
        sizes = counting(ledger)
        commits = Commits(ledger)
        await asyncio.gather(*(one(commits, number) for number in range(50)))
        return sizes

    with open_ledger(tmp_path) as ledger:
        sizes = asyncio.run(go(ledger))
        assert sum(sizes) == 100
        assert len(sizes) <= 10, "of a hundred writes, few had a transaction of their own"
        assert len(ledger.get([f"r{number}" for number in range(50)])) == 50
        assert ledger.totals().usd == pytest.approx(5.0)


def test_numbers_belong_to_their_requests_and_an_answer_is_there_when_it_is_said(
    tmp_path: Path,
) -> None:
    async def go(ledger: Ledger) -> None:
        commits = Commits(ledger)
        marks = await asyncio.gather(
            *(commits.begin(f"r{number}", Amount(1.0)) for number in range(5))
        )
        assert len(set(marks)) == 5
        commits.fail(marks[0], "timeout", Amount(0.25))
        await commits.store(marks[1], "r1", ANSWER, None)
        assert ledger.get(["r0", "r1"]) == {"r1": ANSWER}
        await commits.flush()

    with open_ledger(tmp_path) as ledger:
        asyncio.run(go(ledger))
    with open_ledger(tmp_path) as ledger:  # three were open: lost, at their worst
        totals = ledger.totals()
    assert (totals.attempts, totals.lost, totals.usd) == (5, 3, 3.25)


def test_when_the_disk_says_no_everybody_hears_it_and_nothing_more_is_written(
    tmp_path: Path,
) -> None:
    async def go(ledger: Ledger, full: StorageError) -> Commits:
        async def failing(writes: object) -> list[object]:
            await asyncio.sleep(0)
            raise full

        ledger.transactions.together = failing  # type: ignore[method-assign,assignment]
        commits = Commits(ledger)
        commits.fail(1, "timeout")  # nobody waits for this one
        marks = [commits.begin("a", NOTHING), commits.begin("b", NOTHING)]
        for mark in [*marks, commits.begin("c", NOTHING)]:
            with pytest.raises(StorageError):
                await mark
        await commits.flush()
        with pytest.raises(StorageError):
            await commits.begin("d", NOTHING)
        return commits

    with open_ledger(tmp_path) as ledger:
        full = StorageError("the disk is full")
        assert asyncio.run(go(ledger, full)).error is full
