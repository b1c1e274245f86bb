from __future__ import annotations

from collections.abc import Iterable

from trainer.batches import Batches, grouped


def test_a_resumed_run_goes_on_with_the_items_that_it_would_have_had() -> None:
    straight = list(Batches(0, 10, 4, 0, 1))
    assert straight == list(range(40))
    assert list(Batches(6, 10, 4, 0, 1)) == straight[24:]
    assert len(Batches(6, 10, 4, 0, 1)) == 16


def test_processes_share_a_step_without_overlap() -> None:
    shares = [list(Batches(2, 3, 4, rank, 3)) for rank in range(3)]
    assert [item for share in shares for item in share] == list(range(24, 36))


def test_accumulated_batches_and_processes_share_a_step_without_overlap() -> None:
    ranks = [list(grouped(_batched(Batches(2, 4, 3, rank, 2, 5), 3), 5)) for rank in range(2)]
    for step in range(2):
        parts = [ranks[rank][step][part] for part in range(5) for rank in range(2)]
        first = (2 + step) * 30
        assert [item for part in parts for item in part] == list(range(first, first + 30))


def test_a_resumed_step_begins_with_its_first_batch() -> None:
    straight = list(Batches(0, 10, 4, 1, 2, 3))
    assert list(Batches(6, 10, 4, 1, 2, 3)) == straight[6 * 12 :]
    assert len(Batches(6, 10, 4, 1, 2, 3)) == 4 * 12


def test_a_rest_makes_no_group() -> None:
    assert list(grouped(iter(range(7)), 3)) == [(0, 1, 2), (3, 4, 5)]


def _batched(items: Iterable[int], size: int) -> list[tuple[int, ...]]:
    return list(grouped(items, size))
