"""The cache format and everything that reads it; knows no LLM and no separator.

The names below are loaded when first used, so that `import cache_store` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cache_store import errors
    from cache_store.cache import Cache, Hits, open_cache
    from cache_store.clips import read_clips
    from cache_store.spaces import load_space

__all__ = ["Cache", "Hits", "errors", "load_space", "open_cache", "read_clips"]

_HOME = {
    "Cache": "cache_store.cache",
    "Hits": "cache_store.cache",
    "open_cache": "cache_store.cache",
    "load_space": "cache_store.spaces",
    "read_clips": "cache_store.clips",
}


def __getattr__(name: str) -> Any:
    """Load a public name where it lives (PEP 562)."""
    if name == "errors":
        return import_module("cache_store.errors")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
