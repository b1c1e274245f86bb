"""Recordings without embeddings, and a cache of their captions in the space `tiny`."""

from __future__ import annotations

from pathlib import Path

from cache_store.spaces import Space, load_space
from tests.trainer.clips import write_clips
from tests.trainer.world import CAPTIONS, World, write_cache


def write_hearing_world(folder: Path) -> World:
    """A world whose space is a model that hears."""
    write_clips(folder / "audio", per_label=2)
    space = load_space("tiny", device="cpu")
    return World(folder, folder / "audio" / "clips.csv", write_cache_of(space, folder / "cache"))


def write_cache_of(space: Space, path: Path) -> Path:
    """A cache of `CAPTIONS` in a space."""
    return write_cache(path, space.record, space.embed_text(CAPTIONS))
