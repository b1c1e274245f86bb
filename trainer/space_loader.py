"""The embedding space of a run, loaded once and only if something has to be embedded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cache_store.clips import ClipTable
from cache_store.errors import UsageError
from trainer.config import TrainConfig
from trainer.embeddings import clip_embeddings
from trainer.queries import TextQueries, check_space, is_model

if TYPE_CHECKING:
    from cache_store.cache import Cache
    from cache_store.manifest import SpaceRecord
    from cache_store.spaces.base import Space
    from cache_store.spaces.tower import AudioTower


class SpaceLoader:
    """See the module.

    Args:
        config: Names it, or leaves it to the cache.
        record: The cache's space.
    """

    def __init__(self, config: TrainConfig, record: SpaceRecord) -> None:
        self.spec = config.space or (record.name if is_model(record) else "")
        self._config = config
        self._record = record
        self._space: Space | None = None
        if config.space:
            self.load()

    def load(self) -> Space:
        """The space; the cache's own.

        Raises:
            SpaceMismatchError: It is another.
        """
        if self._space is None:
            from cache_store.spaces import load_space

            self._space = load_space(
                self.spec,
                device=self._config.device if self._config.device != "mps" else "cpu",
                space_name=self._config.space_name or None,
            )
            check_space(self._space.record, self._record, f"--space {self.spec}")
        return self._space

    def ears(self) -> Space:
        """The space, with an audio tower.

        Raises:
            UsageError: There is no model, or none that hears.
        """
        space = self.load() if self.spec else None
        if space is None or space.sample_rate <= 0:
            raise UsageError(
                '`embedding = "crop"` needs a model that embeds audio in every step',
                found=space.name if space is not None else "stored embeddings alone",
                hint='Name one with --space, or leave `embedding` at "clip"',
            )
        return space

    def tower(self) -> AudioTower:
        """The audio tower of the space.

        Raises:
            UsageError: There is no model, or none that hears.
        """
        from cache_store.spaces.tower import Hearing

        space: object = self.load() if self.spec else None
        if not isinstance(space, Hearing):
            raise UsageError(
                f"the model `{self._config.model}` hears through the audio tower of the cache's "
                "space, and stored embeddings have none",
                found=self.spec or self._record.name,
                hint="Name the CLAP that made the embeddings (--space laion:CHECKPOINT | "
                "hf:ID_OR_FOLDER), or train another --model, tdf say",
            )
        return space.audio_tower()

    def embedded(self, clips: ClipTable, store: Path) -> ClipTable:
        """The clips with embeddings of the cache's space. Shape: `[n, D]`"""
        stored = clips.embeddings is not None
        space = None if stored or not self.spec else self.load()
        vectors = clip_embeddings(clips, expected=self._record, space=space, store=store)
        return clips if stored else replace(clips, embeddings=vectors, space=self._record)

    def queries(self, cache: Cache) -> TextQueries:
        """Text queries of this space."""
        return TextQueries(self._record, spec=self._config.space, cache=cache, space=self._space)
