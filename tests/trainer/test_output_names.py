from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_store.errors import UsageError
from trainer.output_names import plan_outputs, residual_of, slugs


def test_a_query_becomes_a_name() -> None:
    found = slugs(["A dog barks!", "a dog, barks", "собака", "?!", "x" * 90])
    assert found == ["a-dog-barks", "a-dog-barks-2", "собака", "query", "x" * 60]


@given(st.lists(st.text(min_size=1), min_size=1, max_size=6, unique=True))
def test_names_are_distinct_and_stay_in_their_folder(queries: list[str]) -> None:
    found = slugs(queries)
    assert len(set(found)) == len(queries)
    assert all("/" not in name and not name.startswith(".") for name in found)


def test_outputs_lie_as_the_recordings_do() -> None:
    names = [Path("a.wav"), Path("sub/a.wav"), Path("sub/a.flac")]
    plans = plan_outputs(names, ["a dog", "rain"], ".flac", residual=True)
    assert [str(one.output) for plan in plans for one in plan] == [
        "a-a-dog.flac",
        "a-rain.flac",
        "sub/a_wav-a-dog.flac",
        "sub/a_wav-rain.flac",
        "sub/a_flac-a-dog.flac",
        "sub/a_flac-rain.flac",
    ]
    assert plans[0][0].residual == Path("a-a-dog-residual.flac")
    assert residual_of(Path("x/y.wav")) == Path("x/y-residual.wav")


def test_what_cannot_be_named_is_told() -> None:
    with pytest.raises(UsageError, match="given twice: a dog"):
        slugs(["a dog", "a dog"])
    with pytest.raises(UsageError, match="at least one --query"):
        slugs([])
    names = [Path("a.wav"), Path("a.ogg"), Path("a_wav.ogg")]
    with pytest.raises(UsageError, match="would be written to one file"):
        plan_outputs(names, ["dog"], ".wav", residual=False)
