from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompts.request import derived_seed, digest, request_id

SHAPE: dict[str, Any] = {
    "messages": [{"role": "user", "content": "café"}],
    "prompt": "",
    "model": "m",
    "temperature": 0.8,
    "top_p": 0.95,
    "max_tokens": 64,
    "stop": [],
    "schema": None,
    "count": 5,
    "occurrence": 0,
    "seed": 7,
}
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def test_an_id_is_the_same_on_every_machine_and_version() -> None:
    # Computed once with hashlib and json alone; a change here loses every paid answer.
    assert request_id(SHAPE) == "ca995cb52853779a4f982c3ccdb2d248"


@pytest.mark.parametrize("field", sorted(SHAPE))
def test_everything_that_shapes_the_answer_shapes_the_id(field: str) -> None:
    assert request_id({**SHAPE, field: "other"}) != request_id(SHAPE)


def test_the_order_of_keys_does_not_matter() -> None:
    assert request_id(dict(reversed(SHAPE.items()))) == request_id(SHAPE)


@given(PLAIN, PLAIN)
def test_different_values_have_different_digests(one: object, other: object) -> None:
    spelled = (json.dumps(value, sort_keys=True) for value in (one, other))
    assert (digest(one) == digest(other)) == (len(set(spelled)) == 1)


def test_a_digest_survives_a_lone_surrogate() -> None:
    assert len(digest("\ud800")) == 64


@given(st.integers(0, 2**63), st.text(), st.integers(0, 10**9))
def test_seeds_have_31_bits(seed: int, asked: str, occurrence: int) -> None:
    assert 0 <= derived_seed(seed, asked, occurrence) < 2**31


def test_seeds_depend_on_all_they_are_derived_from() -> None:
    seeds = {derived_seed(s, a, o) for s in (0, 1) for a in ("x", "y") for o in (0, 1)}
    assert len(seeds) == 8
