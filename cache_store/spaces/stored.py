"""A table of known captions and their embeddings, used as if it were a model.

For data whose embeddings were made elsewhere: a lookup by normalised caption and nothing more. A
text that the table does not have is a clear error, never a guess, and there is no audio tower.

The file is Parquet with the columns `caption` (string) and `embedding` (a list of floats, every
row as wide). Its space is `lqtse.space` in the schema's metadata (with `lqtse.fingerprint`, if the
embeddings were made by a model that this project loaded) or is named by the user.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache_store.errors import DamagedError, DataError, EmptyInputError, UsageError
from cache_store.manifest import SpaceRecord, named_space
from cache_store.spaces.base import unit
from cache_store.text import normalise_caption

SAME = 1e-3  # largest difference of two embeddings of one caption, per value
SUGGEST_UP_TO = 20_000  # captions; looking for a similar one takes too long beyond


class StoredSpace:
    """A lookup of known captions; see `cache_store.spaces.base.Space` for the methods.

    Args:
        path: The file, for messages.
        captions: As in the file.
        embeddings: One a caption; scaled to unit norm. Shape: `[n, D]`.
        record: The space that they are from.

    Raises:
        DataError: One caption has two different embeddings, or one has no direction.
    """

    sample_rate = 0
    text_limit: int | None = None
    precision = ""

    def __init__(
        self,
        path: Path,
        captions: Sequence[str],
        embeddings: NDArray[np.floating],
        record: SpaceRecord,
    ) -> None:
        self.path = path
        self.record = record
        self.name = record.name
        self.fingerprint = record.fingerprint
        self.dim = record.dim
        self._embeddings = _checked(path, embeddings)
        self._rows: dict[str, int] = {}
        for row, caption in enumerate(captions):
            first = self._rows.setdefault(normalise_caption(caption), row)
            gap = np.abs(self._embeddings[first] - self._embeddings[row]).max()
            if gap > SAME:
                raise DataError(
                    f"two rows give different embeddings for {caption!r}",
                    where=path,
                    expected="one text embedding a caption",
                    found=f"rows {first} and {row}",
                    hint="Are these audio embeddings? A stored space takes those of the captions",
                )

    def __repr__(self) -> str:
        return f"StoredSpace({str(self.path)!r}, {len(self._rows)} captions, {self.record})"

    @property
    def captions(self) -> list[str]:
        """The captions in normal form, each once, in the order of the file."""
        return list(self._rows)

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Look the texts up, in their order.

        Returns:
            float32, unit norm. Shape: `[n, D]`.

        Raises:
            DataError: A text is not in the table.
        """
        keys = [normalise_caption(text) for text in texts]
        unknown = [key for key in keys if key not in self._rows]
        if unknown:
            raise DataError(
                f"{len(unknown):,} of {len(keys):,} texts are not among the "
                f"{len(self._rows):,} stored captions, the first: {unknown[0]!r}",
                where=self.path,
                hint=self._suggestion(unknown[0])
                + "For any other text name a model: --space tiny, laion:CHECKPOINT or "
                "hf:ID_OR_FOLDER, of the same space as the embeddings",
            )
        rows = np.array([self._rows[key] for key in keys], dtype=np.int64)
        return self._embeddings[rows]

    def embed_audio(
        self, waveforms: Sequence[NDArray[np.floating]], sample_rate: int
    ) -> NDArray[np.float32]:
        """Always an error: a table of captions cannot hear.

        Raises:
            UsageError: Always.
        """
        raise UsageError(
            "a stored space has no audio tower",
            where=self.path,
            hint="Give a manifest whose `embedding` column holds the audio embeddings, or name a "
            "model: --space tiny, laion:CHECKPOINT or hf:ID_OR_FOLDER",
        )

    def count_tokens(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Words of each text: a table has no tokenizer. Shape: `[n]`."""
        return np.array([len(text.split()) for text in texts], dtype=np.int64)

    def too_long(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """False for every text: nothing is cut. Shape: `[n]`."""
        return np.zeros(len(texts), dtype=np.bool_)

    def _suggestion(self, key: str) -> str:
        if len(self._rows) > SUGGEST_UP_TO:
            return ""
        close = difflib.get_close_matches(key, self._rows, n=1, cutoff=0.75)
        return f"Did you mean {close[0]!r}? " if close else ""


def load_stored(path: str | Path, *, space_name: str | None = None) -> StoredSpace:
    """Read a table of captions and embeddings.

    Args:
        path: A Parquet file.
        space_name: Where the embeddings came from, if the file does not say.

    Raises:
        DataError: The file is missing, damaged, empty, lacks a column, or holds values that are
            not finite.
        UsageError: Neither the file nor `space_name` says where the embeddings came from, or they
            disagree.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = Path(path).expanduser()
    if not file.is_file():
        raise DataError(
            "no such file", where=file, expected="Parquet with columns caption and embedding"
        )
    try:
        schema = pq.read_schema(file)
        missing = [name for name in ("caption", "embedding") if name not in schema.names]
        if missing:
            raise DataError(
                f"the table has no column {' or '.join(missing)}",
                where=file,
                expected="caption, embedding",
                found=", ".join(schema.names),
            )
        table = pq.read_table(
            file, columns=["caption", "embedding"], page_checksum_verification=True
        )
    except (pa.ArrowException, OSError) as error:
        raise DamagedError("the Parquet file cannot be read", where=file, found=error) from error
    if table.num_rows == 0:
        raise EmptyInputError("the table has no rows", where=file)
    if table.column("caption").null_count or table.column("embedding").null_count:
        raise DataError("the table has rows without a caption or an embedding", where=file)
    embeddings = _matrix(table.column("embedding"), file)
    record = _record(schema.metadata or {}, embeddings.shape[1], space_name, file)
    return StoredSpace(file, table.column("caption").to_pylist(), embeddings, record)


def _matrix(column: Any, file: Path) -> NDArray[np.floating]:
    """A column of lists as a matrix; every row must be as wide. Shape: `[n, D]`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(check(kind) for check in lists) or not pa.types.is_floating(kind.value_type):
        raise DataError(
            "the embedding column has the wrong type",
            where=file,
            expected="a list of floats",
            found=kind,
        )
    widths = pc.unique(pc.list_value_length(column)).to_pylist()
    if len(widths) != 1 or not widths[0]:
        raise DataError("embeddings differ in width", where=file, found=sorted(widths)[:5])
    values = pc.list_flatten(column).to_numpy()
    return values.reshape(len(column), widths[0])


def _checked(path: Path, embeddings: NDArray[np.floating]) -> NDArray[np.float32]:
    bad = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
    if len(bad):
        raise DataError("an embedding is not finite", where=path, found=f"row {bad[0]}")
    vectors = unit(embeddings)
    zero = np.flatnonzero(~vectors.any(axis=1))
    if len(zero):
        raise DataError("an embedding is all zeros", where=path, found=f"row {zero[0]}")
    return vectors


def _record(
    metadata: dict[bytes, bytes], dim: int, space_name: str | None, file: Path
) -> SpaceRecord:
    name = metadata.get(b"lqtse.space", b"").decode() or None
    if name and space_name and name != space_name:
        raise UsageError(
            "the file names another space than --space-name",
            where=file,
            expected=space_name,
            found=name,
        )
    if not (name or space_name):
        raise UsageError(
            "the table does not say which model made its embeddings",
            where=file,
            hint='Name it: --space-name "laion-clap 630k-audioset-best", say',
        )
    fingerprint = metadata.get(b"lqtse.fingerprint", b"").decode()
    known = name or space_name or ""
    return SpaceRecord(known, fingerprint, dim) if fingerprint else named_space(known, dim)
