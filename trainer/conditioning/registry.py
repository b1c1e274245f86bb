"""The names of all strategies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any

from cache_store.errors import UsageError
from trainer.conditioning.audio import Audio
from trainer.conditioning.base import Strategy
from trainer.conditioning.caption import Caption
from trainer.conditioning.dropout import Dropout
from trainer.conditioning.lafite import Lafite
from trainer.conditioning.mix import Mix
from trainer.conditioning.noise import Noise
from trainer.conditioning.sample import Sample
from trainer.conditioning.shift import Shift
from trainer.conditioning.softmax import Softmax
from trainer.conditioning.top1 import Top1
from trainer.conditioning.topk_mean import TopKMean

STRATEGIES: Mapping[str, type[Strategy]] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            *(Audio, Noise, Lafite, Dropout, Shift),
            *(Top1, TopKMean, Softmax, Sample, Mix),
            Caption,
        )
    }
)


def strategy_names() -> tuple[str, ...]:
    """Every name that `build_strategy` knows, in the order to show them."""
    return tuple(STRATEGIES)


def build_strategy(name: str, **options: Any) -> Strategy:
    """Make a strategy.

    Args:
        name: One of `strategy_names()`.
        options: Its settings, such as `k`; those that it does not have are left out, so that one
            configuration serves every strategy.

    Raises:
        UsageError: For an unknown name, a setting that no strategy has, or one out of range.
    """
    if name not in STRATEGIES:
        raise UsageError("no such strategy", expected="one of " + ", ".join(STRATEGIES), found=name)
    known = {field.name for kind in STRATEGIES.values() for field in fields(kind)}
    if not known.issuperset(options):
        raise UsageError(
            "no strategy has such a setting", expected=sorted(known), found=sorted(options)
        )
    return STRATEGIES[name].build(**options)
