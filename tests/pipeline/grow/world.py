"""A small world to grow in: procedural recordings, and a cache that lacks some of their sounds."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import pyarrow as pa

from cache_store.manifest import Manifest, newest_manifest
from cache_store.shards import read_table
from cache_store.spaces.tiny.recordings import write_recordings
from cache_store.text import caption_id, normalise_caption
from cache_store.writer import open_writer
from pipeline.embed import embed_cache
from pipeline.generate import Limits
from pipeline.grow.asking import Asker
from pipeline.grow.prepare import Audio
from pipeline.grow.report import GrowReport
from pipeline.grow.rounds import grow_cache
from pipeline.llm.base import Backend
from pipeline.llm.scripted import ScriptedBackend
from pipeline.llm.select import Chosen
from prompts.bank import ConceptBank
from prompts.plan import Plan

# What `tiny` was trained on, by the names that our list of concepts has for it.
HEARD = (
    *("rain", "thunder", "dog", "cat", "rooster", "crow", "frog", "cow", "baby crying", "siren"),
    *("footsteps", "applause", "helicopter", "train", "car horn", "airplane", "chainsaw", "flute"),
    *("church bell", "acoustic guitar", "keyboard typing", "glass breaking"),
)
LACKING = ("dog", "cow")
CAPTIONS = 300
KINDS = ("dog", "cow", "rain", "siren", "bell")
BANK = ConceptBank.from_names(HEARD)


def recordings(folder: Path, kinds: tuple[str, ...] = KINDS, per_kind: int = 4) -> Path:
    """A folder of recordings of two seconds."""
    write_recordings(folder, kinds, per_kind, seed=3, seconds=2.0)
    return folder


def poor_cache(folder: Path, captions: int = CAPTIONS) -> Path:
    """A cache in the space `tiny` of captions about everything but `LACKING`."""
    from prompts import grammar

    bank = ConceptBank.from_names([name for name in HEARD if name not in LACKING])
    plan = Plan(bank=bank, model="grammar", per_request=5)
    texts: dict[str, None] = {}
    index = 0
    while len(texts) < captions:
        for text in json.loads(grammar.answer(plan.request(index)))["captions"]:
            texts.setdefault(normalise_caption(text))
        index += 1
    kept = list(texts)[:captions]
    with open_writer(folder) as writer:
        table = pa.table({"id": [caption_id(text) for text in kept], "caption": kept})
        writer.publish(captions=[writer.write_captions(table)], step={"step": "import"})
    embed_cache(folder, space="tiny", device="cpu")
    return folder


def asker(
    backend: Backend | None = None,
    *,
    bank: ConceptBank = BANK,
    limits: Limits | None = None,
    seed: int = 0,
) -> Asker:
    """Who answers in these tests: one fake model, for all rounds."""
    answering = backend or ScriptedBackend()
    plan = Plan(bank=bank, seed=seed, model=answering.model, template="chat.v1")
    return Asker(
        plan,
        lambda: Chosen(answering, 4),
        limits or Limits(concurrency=4),
        lambda _: nullcontext(lambda: None),
    )


def grow(
    cache: Path,
    audio: Path,
    backend: Backend | None = None,
    *,
    n: int | None = None,
    rounds: int = 3,
    ask: bool = True,
    seed: int = 0,
    bank: ConceptBank = BANK,
    limits: Limits | None = None,
) -> GrowReport:
    """One run of a growth."""
    who = asker(backend, bank=bank, limits=limits, seed=seed)
    return grow_cache(cache, Audio(audio), who, n=n, rounds=rounds, device="cpu", ask=ask)


def manifest_of(cache: Path) -> Manifest:
    manifest = newest_manifest(cache)
    assert manifest is not None
    return manifest


def captions_of(cache: Path) -> list[str]:
    """Every caption of a cache, in order."""
    entries = manifest_of(cache).data
    return [
        text
        for entry in entries
        for text in read_table(cache / entry.path, ["caption"]).column("caption").to_pylist()
    ]
