"""Bring your own captions, and their embeddings if you have them, into a cache.

Captions are normalised, those that the cache or the file already holds are left out and counted,
and what cannot be a caption goes to the rejects with its reason. Shards are written as they fill,
and one manifest at the end makes them visible: a fault half-way changes nothing. Importing the
same file twice adds nothing and publishes nothing. Memory holds one shard and 16 bytes an id.

Letters: N rows, D embedding size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cache_store.errors import DataError, EmptyInputError, UsageError
from cache_store.files import hash_file
from cache_store.text import caption_id, normalise_caption
from pipeline.caption_files import Block, read_blocks
from pipeline.import_embeddings import Target, choose_space, choose_target
from pipeline.import_rows import checked, chosen

if TYPE_CHECKING:
    from cache_store.manifest import FileEntry, Manifest
    from cache_store.writer import CacheWriter

SHARD_ROWS = 16_384  # what is lost at most when an embedding run is killed, a worker
MAX_CHARACTERS = 1_000  # longer than any caption of a sound: a wrong column, or a whole document

Advance = Callable[..., None]


@dataclass(frozen=True)
class ImportReport:
    """What an import did.

    Attributes:
        read: Rows in the file.
        added: Captions that the cache did not hold before.
        known: Rows whose caption the cache already held.
        duplicates: Rows whose caption came earlier in the same file.
        filtered: Rows that `where` left out.
        rejected: Rows refused, by reason.
        example: The first refused row: its reason and its text.
        shards: Files written.
        space: The name of the embeddings' space, None without embeddings.
        dtype: How the embeddings are stored, None without embeddings.
        total: Captions in the cache afterwards.
        waiting: Those of them that are not embedded.
    """

    read: int
    added: int
    known: int
    duplicates: int
    filtered: int
    rejected: dict[str, int]
    example: tuple[str, str] | None
    shards: int
    space: str | None
    dtype: str | None
    total: int
    waiting: int


def import_captions(
    cache: str | Path,
    source: str | Path,
    *,
    column: str = "caption",
    embeddings: bool = False,
    space_name: str | None = None,
    where: str | None = None,
    only: Collection[str] | None = None,
    dtype: str | None = None,
    shard_rows: int = SHARD_ROWS,
    advance: Advance | None = None,
) -> ImportReport:
    """Add the captions of a file to a cache, which is made where there is none.

    Args:
        cache: The cache's folder.
        source: A `.txt`, `.csv`, `.tsv`, `.jsonl` or `.parquet` file.
        column: The column that holds the captions.
        embeddings: Also take the column `embedding` (Parquet): the rows are scaled to unit norm.
        space_name: Which model the embeddings are from, where the file does not say so.
        where: Take only rows for which this holds, for example `label not in ('dog', 'rain')`.
        only: Take only these captions, in normal form.
        dtype: `float16` or `float32` for the embeddings; by default the cache's, or `float32`.
        shard_rows: Rows a shard, at most.
        advance: Called with the number of rows read, again and again.

    Raises:
        UsageError: For a file, column or setting that cannot work, or embeddings of unknown space.
        DataError: For a row that cannot be read, or an embedding of zeros or NaN, naming the row.
        SpaceMismatchError: For embeddings of another space than the cache's.
        MismatchError: For another `dtype` than the cache's.
    """
    from cache_store.writer import open_writer

    source = Path(source)
    blocks = checked(read_blocks(source, column=column, embeddings=embeddings), where, source)
    if only is not None:
        blocks = chosen(blocks, column, only)
    # Before the cache is made: a wrong path, column or space must leave no empty cache behind.
    first = next(blocks, None)
    if first is None:
        raise EmptyInputError("the captions file holds no rows", where=source)
    record = choose_space(source, first[0], space_name)
    if record is None and dtype is not None:
        raise UsageError("--dtype is about embeddings", hint="Add --embeddings")
    with open_writer(cache) as writer:
        target = None if record is None else choose_target(writer.current, source, record, dtype)
        work = _Import(writer, source, column, target, shard_rows, _known_ids(writer))
        for block, keep in chain((first,), blocks):
            work.add(block, keep)
            if advance is not None:
                advance(len(block))
        return work.finish(where)


@dataclass
class _Import:
    """One import under way: what was seen, what waits for the shard to fill, what was written."""

    writer: CacheWriter
    source: Path
    column: str
    target: Target | None
    shard_rows: int
    known: set[bytes]
    seen: set[bytes] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    example: tuple[str, str] | None = None
    texts: list[str] = field(default_factory=list)
    vectors: list[Any] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    files: list[FileEntry] = field(default_factory=list)
    rejects: list[FileEntry] = field(default_factory=list)

    def add(self, block: Block, keep: Sequence[bool] | None) -> None:
        for index, value in enumerate(block.columns[self.column]):
            self.counts["read"] += 1
            if keep is not None and not keep[index]:
                self.counts["filtered"] += 1
                continue
            if value is not None and not isinstance(value, str):
                raise DataError(
                    "a caption is no text",
                    where=f"{self.source}, row {block.first + index}",
                    expected="text",
                    found=type(value).__name__,
                )
            vector = None if block.embeddings is None else block.embeddings[index]
            self._take(value or "", vector)

    def _take(self, value: str, vector: Any) -> None:
        text = normalise_caption(value)
        reason = _reason(text)
        if reason is not None:
            self._refuse(reason, text)
            return
        key = bytes.fromhex(caption_id(text))
        if key in self.known or key in self.seen:
            self.counts["known" if key in self.known else "duplicates"] += 1
            return
        self.seen.add(key)
        self.texts.append(text)
        if vector is not None:
            self.vectors.append(vector)
        if len(self.texts) == self.shard_rows:
            self._write_shard()

    def _refuse(self, reason: str, text: str) -> None:
        cut = text if len(text) <= MAX_CHARACTERS else text[:MAX_CHARACTERS] + "…"
        self.rejected[reason] += 1
        self.example = self.example or (reason, cut)
        self.refused.append((reason, cut))
        if len(self.refused) == self.shard_rows:
            self._write_rejects()

    def _write_shard(self) -> None:
        import numpy as np
        import pyarrow as pa

        from cache_store.shards import from_matrix

        ids = [caption_id(text) for text in self.texts]
        table = pa.table({"id": ids, "caption": self.texts})
        if self.target is None:
            self.files.append(self.writer.write_captions(table))
        else:
            matrix = np.stack(self.vectors).astype(self.target.dtype)
            data = table.append_column("embedding", from_matrix(matrix))
            self.files.append(self.writer.write_data(data, self.target.space))
        self.counts["added"] += len(self.texts)
        self.texts, self.vectors = [], []

    def _write_rejects(self) -> None:
        import pyarrow as pa

        reasons, captions = (list(column) for column in zip(*self.refused, strict=True))
        entry = self.writer.write_rejects(pa.table({"reason": reasons, "caption": captions}))
        # The same refusals again are the same file: an import repeated lists it once.
        listed = (*self.writer.current.rejects, *self.rejects)
        if entry.path not in {other.path for other in listed}:
            self.rejects.append(entry)
        self.refused = []

    def finish(self, where: str | None) -> ImportReport:
        if not (self.seen or self.counts["known"]):
            raise self._nothing(where)
        if self.texts:
            self._write_shard()
        if self.refused:
            self._write_rejects()
        if self.files or self.rejects:
            self._publish(where)
        return ImportReport(
            read=self.counts["read"],
            added=self.counts["added"],
            known=self.counts["known"],
            duplicates=self.counts["duplicates"],
            filtered=self.counts["filtered"],
            rejected=dict(sorted(self.rejected.items())),
            example=self.example,
            shards=len(self.files),
            space=self.target.space.name if self.target else None,
            dtype=self.target.dtype if self.target else None,
            total=len(self.known) + self.counts["added"],
            waiting=unembedded_rows(self.writer.current),
        )

    def _nothing(self, where: str | None) -> EmptyInputError:
        left_out = self.counts["filtered"]
        if left_out == self.counts["read"]:
            return EmptyInputError(f"no row matches `{where}`", where=self.source)
        reason, text = self.example or ("", "")
        return EmptyInputError(
            "the file has no usable caption",
            where=self.source,
            found=f"{sum(self.rejected.values()):,} refused, the first as {reason}: {text[:60]!r}",
        )

    def _publish(self, where: str | None) -> None:
        old = self.writer.current
        step: dict[str, Any] = {
            "step": "import",
            # The name and the hash say what it was without telling where it lay.
            "source": self.source.name,
            "sha256": hash_file(self.source),
            "read": self.counts["read"],
            "added": self.counts["added"],
            "rejected": dict(sorted(self.rejected.items())),
        }
        if where is not None:
            step["where"] = where
        changes: dict[str, Any] = {}
        if self.target is None:
            changes["captions"] = (*old.captions, *self.files)
        else:
            step["space"] = self.target.space.name
            changes["data"] = (*old.data, *self.files)
        self.writer.publish(step=step, rejects=(*old.rejects, *self.rejects), **changes)


def unembedded_rows(manifest: Manifest) -> int:
    """Captions that no data shard was made from."""
    done = {entry.source for entry in manifest.data}
    return sum(entry.rows for entry in manifest.captions if entry.sha256 not in done)


def _known_ids(writer: CacheWriter) -> set[bytes]:
    """The ids of all captions that the cache holds, embedded or not."""
    from cache_store.shards import read_table

    known: set[bytes] = set()
    imported = (entry for entry in writer.current.data if not entry.source)
    for entry in (*writer.current.captions, *imported):
        column = read_table(writer.path / entry.path, columns=["id"]).column("id")
        known.update(bytes.fromhex(value) for value in column.to_pylist())
    return known


def _reason(text: str) -> str | None:
    if not text:
        return "empty"
    return "too_long" if len(text) > MAX_CHARACTERS else None
