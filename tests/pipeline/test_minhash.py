from __future__ import annotations

import random

import pytest
from datasketch import MinHash, MinHashLSH

from pipeline.minhash import NearIndex

BANDS, ROWS = 10, 3
PAIRS = 1500


def pair(rng: random.Random, shared: int, apart: int) -> tuple[list[int], list[int]]:
    """Two sets of 32-bit numbers with Jaccard similarity shared / (shared + 2 apart)."""
    values = rng.sample(range(2**32), shared + 2 * apart)
    return values[: shared + apart], values[:shared] + values[shared + apart :]


def ours(one: list[int], other: list[int]) -> bool:
    index = NearIndex(BANDS, ROWS, 1)
    index.insert(7, index.sketch(one))
    return index.query(index.sketch(other)) == {7}


def theirs(one: list[int], other: list[int]) -> bool:
    sketches = [MinHash(num_perm=BANDS * ROWS, seed=1, hashfunc=int) for _ in range(2)]
    for sketch, values in zip(sketches, (one, other), strict=True):
        sketch.update_batch(values)
    lsh = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS))
    lsh.insert("one", sketches[0])
    return bool(lsh.query(sketches[1]))


@pytest.mark.parametrize(("shared", "apart"), [(3, 6), (4, 3), (6, 2), (7, 1)])
def test_pairs_become_candidates_as_often_as_the_formula_says(shared: int, apart: int) -> None:
    rng = random.Random(shared)
    similarity = shared / (shared + 2 * apart)
    expected = 1 - (1 - similarity**ROWS) ** BANDS
    found = sum(ours(*pair(rng, shared, apart)) for _ in range(PAIRS)) / PAIRS
    # Four standard errors of a share of 1,500 draws, at most 0.052.
    assert found == pytest.approx(expected, abs=4 * (0.25 / PAIRS) ** 0.5)


def test_the_package_finds_as_many() -> None:
    rng = random.Random(0)
    pairs = [pair(rng, 4, 2) for _ in range(400)]
    shares = [sum(find(*one) for one in pairs) / len(pairs) for find in (ours, theirs)]
    # Two independent shares of 400: four standard errors of their difference are 0.141.
    assert shares[0] == pytest.approx(shares[1], abs=0.141)


def test_equal_sets_are_always_found_in_any_order() -> None:
    values = random.Random(3).sample(range(2**32), 9)
    assert ours(values, values[::-1])
