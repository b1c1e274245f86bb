"""Train a separator on unlabelled audio, measure it, and take sounds out of recordings with it.

    from trainer import Separator
    estimate = Separator.load("run").separate(waveform, sample_rate, query="a dog barks")

The names below are loaded when first used, so that `import trainer` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.config import TrainConfig
    from trainer.separate import Separator

__all__ = ["Separator", "TrainConfig"]

_HOME = {
    "Separator": "trainer.separate",
    "TrainConfig": "trainer.config",
}


def __getattr__(name: str) -> Any:
    """Load a public name where it lives (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
