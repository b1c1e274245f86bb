"""The learning rate of every step, as a function of the step alone: nothing to store or resume."""

from __future__ import annotations

import math


def learning_rate(step: int, *, steps: int, peak: float, warmup: int, kind: str) -> float:
    """The rate for one step.

    Rises linearly over `warmup` steps to `peak`; then `constant`, or falls, in a line or as a half
    cosine, so that it would reach zero right after the last step.

    Args:
        step: From 0 to `steps - 1`.
        steps: Of the whole run.
        peak: The highest rate.
        warmup: Steps of the rise.
        kind: `cosine`, `linear` or `constant`.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    if kind == "constant":
        return peak
    progress = (step - warmup) / max(steps - warmup, 1)
    if kind == "linear":
        return peak * (1 - progress)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))
