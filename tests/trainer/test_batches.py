from __future__ import annotations

from trainer.batches import Batches


def test_a_resumed_run_goes_on_with_the_items_that_it_would_have_had() -> None:
    straight = list(Batches(0, 10, 4, 0, 1))
    assert straight == list(range(40))
    assert list(Batches(6, 10, 4, 0, 1)) == straight[24:]
    assert len(Batches(6, 10, 4, 0, 1)) == 16


def test_processes_share_a_step_without_overlap() -> None:
    shares = [list(Batches(2, 3, 4, rank, 3)) for rank in range(3)]
    assert [item for share in shares for item in share] == list(range(24, 36))
