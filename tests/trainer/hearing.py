"""Recordings without embeddings, and a cache of their captions in the space `tiny`."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from cache_store.schema import data_schema
from cache_store.shards import from_matrix
from cache_store.spaces import Space, load_space
from cache_store.text import caption_id
from cache_store.writer import open_writer
from tests.trainer.clips import write_clips
from tests.trainer.world import CAPTIONS, World


def write_hearing_world(folder: Path) -> World:
    """A world whose space is a model that hears."""
    write_clips(folder / "audio", per_label=2)
    space = load_space("tiny", device="cpu")
    return World(folder, folder / "audio" / "clips.csv", write_cache_of(space, folder / "cache"))


def write_cache_of(space: Space, path: Path) -> Path:
    """A cache of `CAPTIONS` in a space."""
    count, record = len(CAPTIONS), space.record
    columns = {
        "id": [caption_id(text) for text in CAPTIONS],
        "caption": list(CAPTIONS),
        "concepts": [[] for _ in CAPTIONS],
        "axes": ["{}"] * count,
        "model": [""] * count,
        "request_id": [""] * count,
        "embedding": from_matrix(space.embed_text(CAPTIONS)),
    }
    schema = data_schema(record.dim, "float32", space=record.name, fingerprint=record.fingerprint)
    with open_writer(path) as writer:
        entry = writer.write_data(pa.table(columns).cast(schema), record)
        writer.publish(data=(entry,), step={"step": "test", "rows": count})
    return path
