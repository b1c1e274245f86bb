from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from cache_store.manifest import Manifest
from pipeline.grow.record import Round, files_hash, growth_key, rounds_of

NAMES = st.text(min_size=1, max_size=12)
EMPTY = files_hash(Manifest(), 0)


@st.composite
def rounds(draw: st.DrawFn) -> Round:
    names = tuple(draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)))
    counts = st.tuples(*(st.integers(1, 9) for _ in names))
    return Round(
        growth="g",
        number=draw(st.integers(1, 9)),
        files=0,
        data=EMPTY,
        concepts=names,
        clips=draw(counts),
        repeats=draw(counts),
        captions=draw(st.integers(1, 10**6)),
        plan=draw(NAMES),
        budget=draw(st.integers(1, 10**6)),
    )


@given(rounds(), st.integers(0, 10**6), st.booleans())
def test_a_round_is_read_back_as_it_was_written(one: Round, kept: int, used_up: bool) -> None:
    begun = Manifest(provenance=({"step": "import"}, one.begun_step({"far": 3})))
    assert rounds_of(begun, "g") == [one]
    assert rounds_of(begun, "another growth") == []
    ended = replace(one, measured=4, kept=kept, used_up=used_up)
    whole = replace(begun, provenance=(*begun.provenance, ended.measured_step({"far": 0})))
    assert rounds_of(whole, "g") == [ended]


def test_a_growth_is_its_clips_concepts_and_model_and_not_its_bank_entry() -> None:
    plan = {"bank": {"hash": "x"}, "seed": 0, "model": "m"}
    key = growth_key("clips", "bank", plan)
    assert key == growth_key("clips", "bank", {**plan, "bank": {"hash": "y"}})
    others = [
        growth_key("other", "bank", plan),
        growth_key("clips", "other", plan),
        growth_key("clips", "bank", {**plan, "seed": 1}),
        growth_key("clips", "bank", {**plan, "model": "n"}),
    ]
    assert len({key, *others}) == 5
