"""Writing to a cache: commit files one by one, then publish a manifest that names them.

Until a manifest names it, a committed file is invisible to readers; so a run that dies between
files leaves the cache as it was, and its rerun finds the files that were committed
(`unlisted_data`) and goes on from there. One process writes at a time (`lease`); a number that is
taken nevertheless means that somebody else published, and is told, never overwritten.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow as pa

from cache_store import checks, schema
from cache_store.card import render_card
from cache_store.commits import commit, commit_data, commit_table
from cache_store.errors import (
    LeaseHeldError,
    storage_errors,
)
from cache_store.files import DISK, FileLayer, link_file, replace_file
from cache_store.holding import hold
from cache_store.layout import CARD_NAME, INDEX_FOLDER
from cache_store.lease import Lease
from cache_store.manifest import (
    FileEntry,
    Manifest,
    SpaceRecord,
    check_file,
    manifest_path,
    newest_manifest,
    parse_manifest,
)
from cache_store.one_space import Held
from cache_store.resume import find_unlisted, space_of


class CacheWriter:
    """Commits files and publishes manifests; made by `open_writer`.

    Attributes:
        path: The cache.
        manifest: The newest manifest, None before the first.
        layer: The operations on the disk.
    """

    def __init__(
        self, path: Path, lease: Lease, manifest: Manifest | None, layer: FileLayer = DISK
    ) -> None:
        self.path = path
        self.manifest = manifest
        self.layer = layer
        self._lease = lease
        self._held = Held(self.current.space, self.current.dtype)

    @property
    def current(self) -> Manifest:
        """The newest manifest, or an empty one before the first."""
        return self.manifest or Manifest()

    def write_captions(self, table: pa.Table) -> FileEntry:
        """Commit a file of captions; columns as `schema.captions_schema` names them.

        Raises:
            DataError: If a row is not what its column promises.
            StorageError: If it cannot be written.
        """
        table = schema.conform(table, schema.captions_schema())
        checks.check_captions(table)
        return commit_table(self.path, schema.CAPTIONS, table, self.layer)

    def write_rejects(self, table: pa.Table) -> FileEntry:
        """Commit a file of refused captions; columns as `schema.rejects_schema` names them.

        Raises:
            DataError: If a row is not what its column promises.
            StorageError: If it cannot be written.
        """
        table = schema.conform(table, schema.rejects_schema())
        return commit_table(self.path, schema.REJECTS, table, self.layer)

    def write_data(
        self, table: pa.Table, space: SpaceRecord, source: str = "", precision: str = ""
    ) -> FileEntry:
        """Commit a file of captions with embeddings.

        Args:
            table: Columns as `schema.data_schema` names them; embeddings of unit norm.
            space: Which model made the embeddings.
            source: The SHA-256 of the captions file that was embedded, "" for imported ones.
            precision: In which the model computed, "" where it is not known.

        Raises:
            SpaceMismatchError: If the cache holds embeddings of another space or another dtype.
            DataError: If a row is not finite, not of unit norm, or not what its column promises.
            StorageError: If it cannot be written.
        """
        dim, dtype = schema.embedding_type(table.schema)
        held = self._held.with_more(self.path, space, dim, dtype)
        entry = commit_data(self.path, table, space, source, self.layer, precision=precision)
        self._held = held
        return entry

    def unlisted_data(self, space: SpaceRecord, dtype: str) -> dict[str, FileEntry]:
        """Return the data files that were committed but never published, by their source.

        What a run that died need not embed again: whole files of this space, each hashed anew.
        """
        listed = {entry.path for entry in self.current.data}
        return find_unlisted(self.path, listed, space, dtype)

    def write_index_file(
        self,
        write: Callable[[Path], None],
        suffix: str,
        rows: int,
        check: Callable[[Path], None] = lambda _: None,
    ) -> FileEntry:
        """Commit a file of an index.

        Args:
            write: Creates the file at the path it is given.
            suffix: ".npy" or ".faiss".
            rows: How many rows it holds.
            check: Reopens the file and raises if it is not what was meant.

        Raises:
            StorageError: If it cannot be written.
        """
        return commit(self.path, INDEX_FOLDER, suffix, write, check, rows, self.layer)

    def publish(self, *, step: Mapping[str, Any] | None = None, **changes: Any) -> Manifest:
        """Make what was committed visible: write the next manifest, then the card.

        Args:
            step: What was done, appended to the provenance (step, model, counts, seed ...); the
                date is added. Values must be JSON: no NaN or infinity.
            changes: New values for fields of `Manifest`, each the whole of it: to add files, give
                `data=(*writer.current.data, *new)`. `space` and `dtype` follow from the files.

        Returns:
            The manifest that is now the newest.

        Raises:
            LeaseHeldError: If somebody else published meanwhile; nothing was changed.
            DamagedError: If a file that it names is missing or cut; nothing was changed.
            SpaceMismatchError: If its data are of different spaces; nothing was changed.
            StorageError: If it cannot be written. If that happens to the card, the manifest is
                published all the same, and the next writer mends the card.
        """
        previous = self.current
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        for name in ("captions", "data", "rejects", "indexes", "tombstones", "provenance"):
            if name in changes:
                changes[name] = tuple(changes[name])
        if step is not None:
            steps = changes.get("provenance", previous.provenance)
            changes["provenance"] = (*steps, {**step, "date": now})
        if "config" in changes:
            spelled = json.dumps(changes["config"], sort_keys=True)
            changes.setdefault("config_hash", hashlib.sha256(spelled.encode()).hexdigest())
        draft = replace(previous, **changes)
        for entry in draft.files():
            check_file(self.path, entry)
        self._adopt(draft.data)
        draft = replace(
            draft,
            number=previous.number + 1,
            created=now,
            tool_version=_tool_version(),
            space=self._held.space if draft.data else None,
            dtype=self._held.dtype if draft.data else None,
        ).sealed()
        path, content = manifest_path(self.path, draft.number), draft.to_bytes()
        with storage_errors(path):
            self._lease.check()
        try:
            with storage_errors(path):
                # A run that was killed may have made these folders and not synced their names; a
                # power cut must not keep the manifest and lose the folder of what it names.
                if previous.number == 0:
                    self.layer.sync_name(self.path)
                self.layer.sync_folder(self.path)
                link_file(path, content, self.layer)
        except FileExistsError as error:
            raise LeaseHeldError(
                "another process published meanwhile",
                where=path,
                hint="Nothing is lost: run the same command again",
            ) from error
        # What everyone reads from now on: JSON sorts names and has no tuples, so a card made from
        # the draft would differ from one made from the file.
        self.manifest = parse_manifest(content, draft.number, path)
        self.write_card()
        return self.manifest

    def write_card(self) -> None:
        """Write README.md anew if it is not the newest manifest's card."""
        if self.manifest is None:
            return
        path, card = self.path / CARD_NAME, render_card(self.manifest).encode()
        with storage_errors(path):
            if not path.is_file() or path.read_bytes() != card:
                replace_file(path, card, self.layer)

    def _adopt(self, data: tuple[FileEntry, ...]) -> None:
        """Take the space over from files that another run committed (`unlisted_data`)."""
        listed = {entry.path for entry in self.current.data}
        for entry in data:
            if entry.path not in listed:
                space, dtype = space_of(self.path, entry)
                self._held = self._held.with_more(self.path, space, space.dim, dtype)


@contextmanager
def open_writer(
    path: str | Path, *, create: bool = True, layer: FileLayer = DISK
) -> Iterator[CacheWriter]:
    """Open a cache for writing; at its end the lease is given back.

    Args:
        path: The folder of the cache.
        create: Make the folder if it is not there.
        layer: The operations on the disk; another one only in tests.

    Raises:
        LeaseHeldError: If another process writes to it.
        UsageError: If the folder holds something else than a cache.
        DataError: If there is no such folder and `create` is false, or its newest manifest is
            damaged.
        StorageError: If it cannot be written.
    """
    folder = Path(path)
    with hold(folder, create=create, layer=layer) as lease:
        writer = CacheWriter(folder, lease, newest_manifest(folder), layer)
        writer.write_card()
        yield writer


def _tool_version() -> str:
    try:
        return version("lqtse")
    except PackageNotFoundError:
        return "unknown"
