"""Everything a run needs before its first step: clips, embeddings, conditions, held-out mixtures.

All that can be wrong with the input is found here, before any step is paid for: another space than
the cache's, clips that cannot be used, captions that are missing or cannot be embedded.

Letters: n clips, N rows of the cache, D embedding size.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from cache_store.cache import Cache, open_cache
from cache_store.clips import ClipReject, ClipTable, read_clips, usable
from cache_store.errors import UsageError
from trainer.clip_audio import ClipAudio
from trainer.conditioning import build_strategy
from trainer.conditioning.conditioner import Conditioner
from trainer.config import TrainConfig
from trainer.diagnosis import Diagnosis
from trainer.held_out import plan_mixtures
from trainer.models import needs_tower
from trainer.queries import TextQueries, column_texts
from trainer.run import RunFolder
from trainer.space_loader import SpaceLoader
from trainer.stored_neighbours import stored_neighbours
from trainer.validate import HeldOut, render_held_out

if TYPE_CHECKING:
    from cache_store.manifest import SpaceRecord
    from cache_store.spaces.base import Space
    from cache_store.spaces.tower import AudioTower

VALIDATION_SEED = 2024  # of the held-out mixtures: the same for every run, whatever its own seed


@dataclass(frozen=True)
class Prepared:
    """What a run works with.

    Attributes:
        clips: The training clips.
        audio: Their sound.
        conditioner: Their conditions.
        retrieval_seconds: What it took to find them.
        diagnosis: The gap, and how the cache's captions are used; None without retrieval.
        held_out: The mixtures to validate on, None without any.
        space: The space of the conditions.
        space_spec: What the user named to load it, "" for none.
        ears: The model that embeds the targets of a step; None where conditions go by clips.
        tower: The audio tower that the separator hears through; None for one that needs none.
        cache: The cache: `path`, manifest `number`, `data_hash`.
        rejects: The clips that were left out.
        notes: What a user should know, a line each.
    """

    clips: ClipTable
    audio: ClipAudio
    conditioner: Conditioner
    retrieval_seconds: float
    diagnosis: Diagnosis | None
    held_out: HeldOut | None
    space: SpaceRecord
    space_spec: str
    ears: Space | None
    tower: AudioTower | None
    cache: dict[str, Any]
    rejects: tuple[ClipReject, ...]
    notes: tuple[str, ...]


def prepare(config: TrainConfig, folder: RunFolder, device: torch.device) -> Prepared:
    """Read, check and embed all that `config` names.

    Args:
        config: The configuration.
        folder: The run, where computed embeddings are remembered.
        device: Where the conditions are wanted.

    Raises:
        DataError: The cache or the audio is missing, empty or damaged.
        MismatchError: The cache, the audio and the model are not of one space.
        UsageError: A strategy or validation needs something that is not there.
    """
    notes: list[str] = []
    cache = open_cache(config.cache)
    loader = SpaceLoader(config, cache.space)
    ears = loader.ears() if config.embedding == "crop" else None
    tower = loader.tower() if needs_tower(config.model) else None
    table = _read(config.audio, config)
    clips, rejects = usable(table.where(config.where), sample_rate=config.sample_rate)
    clips = loader.embedded(clips, folder.embeddings("train"))
    valid = _valid_clips(config, table, clips, notes)
    if valid is not None:
        valid, more = usable(valid, sample_rate=config.sample_rate)
        valid = loader.embedded(valid, folder.embeddings("valid"))
        named = {reject.name for reject in rejects}
        rejects += [reject for reject in more if reject.name not in named]
    queries = loader.queries(cache)
    memory, disk = (round(size * (1 << 30)) for size in (config.memory_gb, config.disk_gb))
    audio = ClipAudio(
        clips, config.sample_rate, memory_limit=memory, disk_limit=disk, folder=folder.path
    )
    audio.measure()
    begin = time.monotonic()
    conditioner = _conditioner(config, cache, clips, queries, device, notes)
    retrieval_seconds = time.monotonic() - begin
    diagnosis = conditioner.diagnose()
    if diagnosis is not None:
        notes += diagnosis.warnings()
    held_out = None
    if valid is not None:
        held_out = _held_out(config, cache, valid, queries, notes)
    record = {
        "path": str(cache.path.absolute()),
        "number": cache.manifest.number,
        "data_hash": cache.manifest.data_hash(),
    }
    return Prepared(
        clips,
        audio,
        conditioner,
        retrieval_seconds,
        diagnosis,
        held_out,
        cache.space,
        lasting(config.space),
        ears,
        tower,
        record,
        tuple(rejects),
        tuple(notes),
    )


def lasting(spec: str) -> str:
    """A spec that still holds in another folder: paths in it made absolute."""
    kind, colon, rest = spec.partition(":")
    return f"{kind}{colon}{Path(rest).absolute()}" if rest and Path(rest).exists() else spec


def _read(source: str, config: TrainConfig) -> ClipTable:
    return read_clips(
        source,
        label_from_folder=config.label_from_folder,
        space_name=config.space_name or None,
    )


def _valid_clips(
    config: TrainConfig, table: ClipTable, clips: ClipTable, notes: list[str]
) -> ClipTable | None:
    """The clips to validate on, unchecked; None if the configuration names none."""
    if not (config.valid_audio or config.valid_where):
        notes.append("no validation: name held-out clips with --valid-where or --valid-audio")
        return None
    source = _read(config.valid_audio, config) if config.valid_audio else table
    valid = source.where(config.valid_where)
    seen = {path.absolute() for path in clips.paths}
    both = sum(path.absolute() in seen for path in set(valid.paths))
    if both:
        notes.append(
            f"{both} clips are trained on and validated on: the validation says too much; "
            "separate them with --where and --valid-where"
        )
    return valid


def _conditioner(
    config: TrainConfig,
    cache: Cache,
    clips: ClipTable,
    queries: TextQueries,
    device: torch.device,
    notes: list[str],
) -> Conditioner:
    strategy = build_strategy(config.strategy, **config.strategy_options())
    captions = index = matrix = None
    if "caption" in strategy.needs:
        texts = _texts(clips)
        if texts is None:
            raise UsageError(
                "the strategy `caption` needs a column `caption` or `label`", where=clips.source
            )
        captions = torch.from_numpy(queries.embed(texts[1])).to(device)
    if "cache" in strategy.needs:
        index = cache.exact_index(str(device))
        matrix = index.matrix
    embeddings = torch.from_numpy(clips.embeddings).to(device)
    stored, note = stored_neighbours(clips, cache, strategy, str(device))
    notes += [note] if note else []
    return Conditioner(
        strategy, embeddings, index=index, matrix=matrix, captions=captions, stored=stored
    )


def _held_out(
    config: TrainConfig,
    cache: Cache,
    valid: ClipTable,
    queries: TextQueries,
    notes: list[str],
) -> HeldOut:
    embeddings = np.asarray(valid.embeddings)
    texts = _texts(valid)
    if texts is not None:
        kind, words = texts
        conditions = torch.from_numpy(queries.embed(words))
    else:
        kind = "nearest caption"
        notes.append(
            "the held-out clips have no captions or labels: validation asks with the caption of "
            "the cache that is nearest to the target"
        )
        hits = cache.search(embeddings, 1)
        words = [row[0] for row in cache.captions(hits.rows)]
        conditions = torch.from_numpy(cache.embeddings[hits.rows[:, 0]]).float()
    audio = ClipAudio(valid, config.sample_rate)
    plans = plan_mixtures(
        valid,
        config.valid_mixtures,
        VALIDATION_SEED,
        config.valid_snr,
        audio=audio,
        seconds=config.seconds,
    )
    return render_held_out(plans, audio, kind, words, conditions, torch.from_numpy(embeddings))


def _texts(clips: ClipTable) -> tuple[str, list[str]] | None:
    """Which column has a text for every clip, and its texts; None if there is no such column."""
    for kind in ("caption", "label"):
        values = clips.columns.get(kind)
        if values is not None and any(values):
            return kind, column_texts(clips.columns, kind, clips.source)
    return None
