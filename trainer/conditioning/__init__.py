"""Strategies: from a clip's audio embedding to the condition that a separator is trained with.

One strategy a file; `STRATEGIES` names them all and `build_strategy` makes one. At test the
condition is a text's embedding, so a strategy is a guess, made without labels, of what a text
about the clip would look like. Every strategy returns unit norm and is a pure function of its
inputs and a generator.

    audio, noise, lafite, dropout   of the audio embedding alone
    shift                           moved by the gap between the clouds of audio and text
    top1, topk_mean, softmax        of the captions nearest to the clip
    sample, mix                     drawn from them, or from between them and the clip
    caption                         the clip's own: the supervised upper bound
    negative                        not a strategy: steers any condition away from another

    base.py         what a strategy is, and the search for neighbours that several share
    registry.py     names -> strategies
    conditioner.py  all clips of a table at once: fixed conditions and neighbours computed once
"""

from __future__ import annotations

from trainer.conditioning.base import Neighbours, Strategy
from trainer.conditioning.conditioner import Conditioner
from trainer.conditioning.negative import steer_away
from trainer.conditioning.registry import STRATEGIES, build_strategy, strategy_names

__all__ = [
    "STRATEGIES",
    "Conditioner",
    "Neighbours",
    "Strategy",
    "build_strategy",
    "steer_away",
    "strategy_names",
]
