"""Everyone once before anyone twice, in any order of asking."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trainer.rounds import Rounds


@given(n=st.integers(1, 40), seed=st.integers(0, 2**32), rounds=st.integers(1, 4))
def test_each_round_is_a_permutation(n: int, seed: int, rounds: int) -> None:
    sequence = Rounds(n, seed, 1)
    for number in range(rounds):
        assert sorted(sequence[number * n + at] for at in range(n)) == list(range(n))


@given(st.lists(st.integers(0, 200), max_size=20))
def test_the_order_of_asking_does_not_matter(indices: list[int]) -> None:
    asked = Rounds(13, 5, 1)
    assert [asked[i] for i in indices] == [Rounds(13, 5, 1)[i] for i in indices]


def test_rounds_seeds_and_purposes_differ() -> None:
    first = [Rounds(50, 0, 1)[i] for i in range(50)]
    assert first != [Rounds(50, 0, 1)[50 + i] for i in range(50)]
    assert first != [Rounds(50, 1, 1)[i] for i in range(50)]
    assert first != [Rounds(50, 0, 2)[i] for i in range(50)]
