from __future__ import annotations

import pytest
import torch

from cache_store.index.workers import Take, share_out


def test_each_block_is_given_once_whatever_the_threads() -> None:
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            taken = share_out(lambda take: list(iter(take, None)), 100)
            assert len(taken) == threads
            assert sorted(number for mine in taken for number in mine) == list(range(100))
    finally:
        torch.set_num_threads(before)


def test_work_inside_work_stays_in_its_thread_and_uses_one() -> None:
    before = torch.get_num_threads()

    def outer(take: Take) -> list[tuple[int, int]]:
        found = []
        for _ in iter(take, None):
            torch.ones(200, 200) @ torch.ones(200, 200)
            inner = share_out(lambda take: len(list(iter(take, None))), 50)
            found.append((inner[0], torch.get_num_threads()))
            assert len(inner) == 1
        return found

    try:
        torch.set_num_threads(2)
        for _ in range(20):
            assert {pair for mine in share_out(outer, 10) for pair in mine} == {(50, 1)}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_first_error_comes_out_and_the_rest_is_left() -> None:
    seen = []

    def work(take: Take) -> None:
        for number in iter(take, None):
            seen.append(number)
            raise ValueError(f"block {number}")

    with pytest.raises(ValueError, match="block"):
        share_out(work, 1000)
    assert len(seen) < 10
