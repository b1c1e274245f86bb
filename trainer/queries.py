"""Text queries become conditions, in the space that a run was trained in.

Three places can know a text's embedding: the model or the table that the user names with `--space`;
the run's cache, whose rows are captions with embeddings; the model that the run's space names, if
it is one. They are asked in this order, save that `tiny` is at hand and asked before the cache. The
cache is all there is where embeddings were made elsewhere. Whatever answers must have the run's
fingerprint.

Letters: n texts, N rows, D embedding size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cache_store.errors import DataError, RemoteError, SpaceMismatchError, UsageError
from cache_store.text import caption_id

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cache_store.cache import Cache
    from cache_store.manifest import SpaceRecord
    from cache_store.spaces.base import Space

_MODELS = ("hf:", "laion:")  # of a space's name that is also a way to load it
_ROWS_AT_ONCE = 1 << 16


class TextQueries:
    """Embeds texts in one space.

    Args:
        record: The space that conditions live in.
        spec: What to load, as `--space` takes it; "" for what `record` names, if it is a model.
        space_name: Where a `stored:` table's embeddings came from, if its file does not say.
        cache: The run's cache, open or its path; None if there is none to ask.
        device: For a model.
        space: What `spec` names, if it is loaded already.

    Raises:
        SpaceMismatchError: `spec` is of another space than `record`.
        UsageError: `spec` cannot be loaded.

    Attributes:
        record: The space.
        deaf: Why `ears` gave nothing; "" while it was not asked, or gave something.
    """

    def __init__(
        self,
        record: SpaceRecord,
        *,
        spec: str = "",
        space_name: str = "",
        cache: Cache | str | Path | None = None,
        device: str = "auto",
        space: Space | None = None,
    ) -> None:
        self.record = record
        self.deaf = ""
        self._device = device
        self._space_name = space_name or None
        self._cache = cache
        self._space = space
        self._spec = spec or (record.name if is_model(record) else "")
        self._table_first = spec.startswith("stored:")
        self._model_first = (bool(spec) and not self._table_first) or self._spec == "tiny"
        if spec and space is None:
            self._space = self._load()

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts, in their order.

        Returns:
            float32, unit norm. Shape: `[n, D]`.

        Raises:
            DataError: A text is known nowhere.
            SpaceMismatchError: The model is not the one that the run was trained with.
        """
        if self._model_first:
            return self._model().embed_text(texts)
        unique = list(dict.fromkeys(texts))
        known = self._from_table(unique)
        known |= self._from_cache([text for text in unique if text not in known])
        unknown = [text for text in unique if text not in known]
        if unknown and is_model(self.record):
            known |= zip(unknown, self._model().embed_text(unknown), strict=True)
            unknown = []
        if unknown:
            raise DataError(
                f"the embeddings of {len(unknown)} of {len(unique)} texts are not known, the "
                f"first: {unknown[0]!r}",
                where=self._spec or self._cache_path() or None,
                hint=f"The run's space, {self.record.name!r}, is not a model that can be loaded: "
                "ask with a stored caption, or name the model or a table of more captions with "
                "--space hf:... | laion:... | stored:FILE.parquet",
            )
        return np.stack([known[text] for text in texts])

    def ears(self) -> Space | None:
        """The model that embeds audio in this space; None if there is none, or it cannot be had.

        Why is then in `deaf`. Queries may do without it, by the cache.

        Raises:
            SpaceMismatchError: The model is not the one that the run was trained with.
        """
        if self._table_first or not self._spec:
            self.deaf = f"the space {self.record.name!r} is stored embeddings, not a model"
            return None
        try:
            space = self._model()
        except (DataError, RemoteError, UsageError) as error:
            self.deaf = error.message
            return None
        if space.sample_rate <= 0:
            self.deaf = f"the space {self.record.name!r} embeds no audio"
            return None
        return space

    def _model(self) -> Space:
        if self._space is None:
            self._space = self._load()
        return self._space

    def _load(self) -> Space:
        from cache_store.spaces import load_space

        space = load_space(self._spec, device=self._device, space_name=self._space_name)
        check_space(space.record, self.record, f"--space {self._spec}")
        return space

    def _from_table(self, texts: list[str]) -> dict[str, NDArray[np.float32]]:
        """Those of the texts that the `stored:` table has."""
        if not self._table_first:
            return {}
        known = {}
        for text in texts:
            try:
                known[text] = self._model().embed_text([text])[0]
            except DataError:
                continue
        return known

    def _from_cache(self, texts: list[str]) -> dict[str, NDArray[np.float32]]:
        """Those of the texts that are rows of the cache."""
        if not texts or self._cache is None:
            return {}
        if isinstance(self._cache, str | Path):
            from cache_store.cache import open_cache

            if not Path(self._cache).exists():
                return {}
            self._cache = open_cache(self._cache)
        cache = self._cache
        if cache.space.fingerprint != self.record.fingerprint:
            return {}
        rows = find_captions(cache, texts)
        return {text: _unit(cache.embeddings[row]) for text, row in rows.items()}

    def _cache_path(self) -> str:
        if self._cache is None:
            return ""
        return str(self._cache) if isinstance(self._cache, str | Path) else str(self._cache.path)


def is_model(record: SpaceRecord) -> bool:
    """Whether a space's name is also a way to load a model."""
    return record.name == "tiny" or record.name.startswith(_MODELS)


def check_space(found: SpaceRecord, expected: SpaceRecord, what: str) -> None:
    """Refuse another space than the run's.

    Raises:
        SpaceMismatchError: Naming both.
    """
    if (found.fingerprint, found.dim) != (expected.fingerprint, expected.dim):
        raise SpaceMismatchError(
            "a model of another space than the run was trained in",
            where=what,
            expected=f"{expected.name} [{expected.fingerprint}]",
            found=f"{found.name} [{found.fingerprint}]",
        )


def find_captions(cache: Cache, texts: Sequence[str]) -> dict[str, int]:
    """The rows of those texts that the cache holds, whatever their white space."""
    wanted: dict[str, list[str]] = {}
    for text in texts:
        wanted.setdefault(caption_id(text), []).append(text)
    rows: dict[str, int] = {}
    for start in range(0, cache.manifest.rows, _ROWS_AT_ONCE):
        block = range(start, min(start + _ROWS_AT_ONCE, cache.manifest.rows))
        for row, key in zip(block, cache.ids(list(block)), strict=True):
            for text in wanted.pop(key, ()):
                rows[text] = row
        if not wanted:
            break
    return rows


def _unit(vector: NDArray[np.floating]) -> NDArray[np.float32]:
    exact = vector.astype(np.float64)
    return (exact / np.linalg.norm(exact)).astype(np.float32)


def column_texts(columns: Mapping[str, Sequence[str | None]], kind: str, source: str) -> list[str]:
    """The queries of a table of clips.

    Args:
        columns: Of the table.
        kind: `caption` or `label`.
        source: Of the table, for messages.

    Raises:
        UsageError: There is no such column, or it has gaps.
    """
    values = columns.get(kind)
    if values is None:
        raise UsageError(
            f"the audio has no column {kind!r} to ask with",
            where=source,
            found=", ".join(columns) or "no columns",
            hint="Try --queries audio, or give a manifest with captions",
        )
    gaps = sum(not value for value in values)
    if gaps:
        raise UsageError(
            f"{gaps} of {len(values)} clips have no {kind}",
            where=source,
            hint=f'Leave them out: --where "{kind} is not None"',
        )
    return [str(value) for value in values]
