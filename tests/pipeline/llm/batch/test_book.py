from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.ledger import Ledger, open_ledger
from pipeline.llm.amount import NOTHING, Amount
from pipeline.llm.batch.book import Book, Entry
from pipeline.llm.batch.rounds import Member
from pipeline.llm.prices import Price

MEMBERS = [Member("a" * 32, 0), Member("b" * 32, 1, attempt=2)]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(tmp_path) as one:
        yield one


def planned(book: Book, plan: str = "p", name: str = "r") -> Entry:
    return book.plan(
        plan=plan,
        name=name,
        address="http://s/v1",
        model="m",
        chat=True,
        members=MEMBERS,
        worst=Amount(0.5, 900),
        price=Price(1.0, 2.0),
    )


def test_a_batch_goes_through_its_states(ledger: Ledger) -> None:
    book = Book(ledger)
    entry = planned(book)
    assert (entry.state, entry.ours, entry.batch_id, entry.files) == ("planned", True, None, ())
    entry = book.submitted(entry, "batch_1", "file-1")
    assert (entry.state, entry.batch_id, entry.files) == ("submitted", "batch_1", ("file-1",))
    assert book.open() == [entry]
    entry = book.collected(entry, ["file-1", "file-2"])
    assert (entry.state, entry.worst, entry.files) == ("collected", NOTHING, ("file-1", "file-2"))
    book.done(entry)
    assert book.open() == []
    assert book.members(entry) == []
    assert book.known() == {"batch_1"}, "it is not taken for another later"


def test_what_is_written_is_there_in_the_next_process(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        book = Book(ledger)
        first = planned(book)
        second = book.submitted(planned(book, name="s"), "batch_2", "file-2")
    with open_ledger(tmp_path) as ledger:
        book = Book(ledger)
        assert book.open() == [first, second]
        assert book.members(first) == MEMBERS
        assert (first.price, first.worst) == (Price(1.0, 2.0), Amount(0.5, 900))


def test_a_batch_that_was_found_is_not_ours(ledger: Ledger) -> None:
    entry = Book(ledger).plan(
        plan="p",
        name="r",
        address="http://s/v1",
        model="m",
        chat=False,
        members=[],
        batch_id="batch_9",
    )
    assert (entry.state, entry.ours, entry.batch_id) == ("submitted", False, "batch_9")
    assert (entry.chat, entry.price, entry.worst) == (False, None, NOTHING)


def test_the_ledger_is_as_good_as_before(ledger: Ledger) -> None:
    planned(Book(ledger))
    assert ledger.totals().attempts == 0
    assert ledger.get(["a" * 32]) == {}
