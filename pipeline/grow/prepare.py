"""What a growth works with before its first round: the model, the clips, the concepts, the figures.

Nothing is asked here, and nothing is published but embeddings of captions that had none.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cache_store.errors import DataError, UsageError
from pipeline.grow.coverage import Scores, score
from pipeline.grow.kept import kept_table, key_of
from pipeline.grow.record import Round, growth_key, rounds_of
from pipeline.grow.recordings import Recordings, read_recordings
from pipeline.grow.reference import Reference, Vectors, make_reference
from pipeline.grow.wordings import calibration_bank, wordings
from pipeline.progress import Progress, quiet
from pipeline.spaces import DEFAULT_SPACE, load_matching, loadable

if TYPE_CHECKING:
    import pyarrow as pa

    from cache_store.manifest import Manifest
    from cache_store.spaces import Space
    from prompts.bank import ConceptBank
    from prompts.plan import Plan

_SAMPLE = 8  # concepts


@dataclass(frozen=True)
class Audio:
    """Where the user's audio lies, and how to read it; as the arguments of `read_recordings`."""

    source: str | Path
    where: str | None = None
    label_from_folder: bool = False
    space_name: str | None = None
    batch: int = 16


@dataclass(frozen=True)
class Prepared:
    """What a growth works with.

    Attributes:
        model: The cache's space.
        recordings: The user's audio.
        bank: The concepts.
        reference: What they look like.
        scores: How well each clip fits each concept.
        growth: The growth's name.
        rounds: Rounds of it that the cache knows of.
        base: Data files of the cache when it began.
    """

    model: Space
    recordings: Recordings
    bank: ConceptBank
    reference: Reference
    scores: Scores
    growth: str
    rounds: list[Round]
    base: int


def prepare(
    cache: Path,
    audio: Audio,
    plan: Plan,
    *,
    space: str | None = None,
    device: str = "auto",
    embed: bool = True,
    progress: Progress = quiet,
) -> Prepared:
    """Load and measure what a growth needs.

    Args:
        cache: The cache's folder.
        audio: The user's recordings.
        plan: What is asked of whom; its bank holds the concepts.
        space: A model of the cache's space, None for the one that it names.
        device: Where to embed.
        embed: Whether to embed captions that are not embedded yet.
        progress: How to show the embedding of the recordings.

    Raises:
        UsageError: If the space has no text tower, or the recordings are not there.
        DataError: If there is no cache, or nothing embedded and `embed` is false.
        SpaceMismatchError: If the model or stored embeddings are not of the cache's space.
    """
    from cache_store.spaces import pick_device

    place = pick_device(device)
    manifest = _manifest(cache)
    _check_text_tower(cache, manifest, space)
    # Both fail early: before minutes of embedding, and before anything is written.
    model = load_matching(space, manifest.space, device=place)
    _check_hearing(model)
    recordings = read_recordings(
        cache,
        audio.source,
        model,
        where=audio.where,
        label_from_folder=audio.label_from_folder,
        space_name=audio.space_name,
        batch=audio.batch,
        progress=progress,
    )
    if embed:
        from pipeline.embed import embed_cache

        embed_cache(cache, space=space, device=device)
        manifest = _manifest(cache)
    elif manifest.space is None:
        raise DataError(
            "the cache holds no embeddings", where=cache, hint=f"Run lqtse-cache embed {cache}"
        )
    bank = plan.bank
    growth = growth_key(recordings.key, bank.hash, plan.config())
    rounds = rounds_of(manifest, growth)
    base = rounds[0].files if rounds else len(manifest.data)
    reference = make_reference(
        _embedded_wordings(cache, model, bank),
        _embedded_wordings(cache, model, calibration_bank(bank)),
    )
    scores = score(recordings.vectors, reference)
    return Prepared(model, recordings, bank, reference, scores, growth, rounds, base)


def _manifest(cache: Path) -> Manifest:
    from cache_store.cache import open_cache

    with open_cache(cache) as store:
        return store.manifest


def _check_text_tower(cache: Path, manifest: Manifest, space: str | None) -> None:
    record = manifest.space
    spec = space or (record.name if record is not None else DEFAULT_SPACE)
    stored = spec.startswith("stored:")
    if not stored and (space is not None or record is None or loadable(record)):
        return
    kind = "a table of known captions" if stored else "a name, not a model that can be loaded"
    raise UsageError(
        f"new captions could not be embedded: the space {spec!r} is {kind}, and has no text tower",
        where=cache,
        hint="Name the model that made the embeddings with --space (laion:CHECKPOINT or "
        "hf:ID_OR_FOLDER); where its fingerprint is not the cache's, import the captions without "
        "--embeddings into another cache and embed that one with the model",
    )


def _check_hearing(model: Space) -> None:
    if model.sample_rate <= 0:
        raise UsageError(f"{model.name} has no audio tower, and cannot compare captions with audio")


def _embedded_wordings(cache: Path, model: Space, bank: ConceptBank) -> Vectors:
    """The wordings of a bank, embedded; kept for the next run. Shape: [C, M, D]."""
    import numpy as np

    from cache_store.shards import to_matrix
    from prompts.bank import ConceptBank

    def make() -> pa.Table:
        import pyarrow as pa

        from cache_store.shards import from_matrix
        from cache_store.text import normalise_caption

        texts = [normalise_caption(text) for words in wordings(bank) for text in words]
        return pa.table({"caption": texts, "embedding": from_matrix(model.embed_text(texts))})

    # The wordings of a few concepts stand for the grammar, which later versions may change.
    sample = wordings(ConceptBank(bank.concepts[:_SAMPLE]))
    key = key_of(model.fingerprint, bank.hash, sample)
    table = kept_table(cache, "concepts", key, make)
    matrix = np.asarray(to_matrix(table.column("embedding")), np.float32)
    return matrix.reshape(len(bank), -1, matrix.shape[1])
