from __future__ import annotations

import math

import pytest
import torch

from cache_store.index import choice
from cache_store.index.choice import choose, seconds
from cache_store.index.precision import FORMS, BFloat16, Float32, Int8
from tests.cache_store.builders import unit_rows

FORM = {"float32": Float32, "bfloat16": BFloat16, "int8": Int8}


@pytest.mark.parametrize("precision", FORMS)
def test_the_precision_asked_for_is_taken(precision: str) -> None:
    assert type(choose(torch.from_numpy(unit_rows(40, 16)), precision)) is FORM[precision]


def test_narrow_vectors_and_few_rows_are_multiplied_as_they_are() -> None:
    assert type(choose(torch.from_numpy(unit_rows(40, 8)), "int8")) is Float32
    assert type(choose(torch.from_numpy(unit_rows(40, 64)), "auto")) is Float32


@pytest.mark.parametrize("quickest", FORMS)
def test_auto_takes_the_quickest(quickest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "seconds", lambda name: 1.0 if name == quickest else 2.0)
    monkeypatch.setattr(choice, "_SMALL", 30)
    assert type(choose(torch.from_numpy(unit_rows(40, 16)), "auto")) is FORM[quickest]


def test_codes_that_would_not_fit_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "seconds", lambda name: float(name != "int8"))
    monkeypatch.setattr(choice, "_SMALL", 30)
    monkeypatch.setattr(choice, "RESIDENT_BYTES", 40 * 16 - 1)
    assert type(choose(torch.from_numpy(unit_rows(40, 16)), "auto")) is not Int8


def test_a_form_that_this_machine_lacks_is_never_the_quickest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Missing(Float32):
        def block(self, asked: torch.Tensor, start: int, stop: int) -> torch.Tensor:
            raise RuntimeError("not built")

    monkeypatch.setitem(FORMS, "missing", Missing)
    assert math.isinf(seconds("missing"))
    assert 0 < seconds("float32") < math.inf
