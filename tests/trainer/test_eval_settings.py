"""Settings of an evaluation check themselves, and tell all faults together."""

from __future__ import annotations

from typing import Any

import pytest

from cache_store.errors import ConfigError
from trainer.eval_settings import EvalSettings


def test_all_faults_are_told_together() -> None:
    with pytest.raises(ConfigError) as caught:
        EvalSettings("", queries="smell", mixtures=0, seconds=0.0, snr=1000.0, checkpoint="worst")
    assert len(caught.value.faults) == 6


@pytest.mark.parametrize(
    "wrong", [{"mixtures": 1.5}, {"seconds": "two"}, {"snr": True}, {"where": 3}]
)
def test_types_are_checked(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ConfigError, match=f"`{name}` must be"):
        EvalSettings("clips", **wrong)


def test_what_may_be_left_out_may_be_left_out() -> None:
    assert EvalSettings("clips", seconds=None).seconds is None


def test_what_does_not_go_together_is_told() -> None:
    with pytest.raises(ConfigError) as caught:
        EvalSettings("clips", list="esc50.csv", say_not=True, worst=True)
    assert [fault.split("`")[1] for fault in caught.value.faults] == ["say_not", "sounds"]
