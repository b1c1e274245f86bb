"""Judge a cache after an accident: as before or as after, all there, and the command goes on."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cache_store.cache import open_cache
from cache_store.errors import DamagedError
from cache_store.files import TMP_PREFIX
from cache_store.layout import QUARANTINE_FOLDER
from cache_store.lease import LEASE_NAME
from cache_store.manifest import CENTRING, newest_manifest
from cache_store.shards import read_table
from cache_store.verify import verify_cache
from tests.faults.memory import clone, drop, lines_of
from tests.faults.operations import Operation

# What differs between two runs of a command that do the same: dates, and what is hashed with them.
_PASSING = re.compile(
    rb'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+0-9:]*|"self_hash": "[0-9a-f]*"|' + rb"\.tmp-[0-9a-f]{32}"
)
_INDEXES = re.compile("indexes|hits ")
_LEASES = (LEASE_NAME, f"{LEASE_NAME}.lock")

_LEDGER = "ledger.sqlite"

Content = dict[str, Any]
DAMAGED: Content = {"damaged": True}


def content(cache: Path) -> Content | None:
    """Everything that a reader gets from a cache, dates left out; None where there is none."""
    if newest_manifest(cache) is None:
        return None
    with open_cache(cache) as store:
        manifest = store.manifest
        found: Content = {
            "tombstones": manifest.tombstones,
            "indexes": [(index.kind, manifest.is_fresh(index)) for index in manifest.indexes],
            "live": len(store),
        }
        for kind, entries in (("captions", manifest.captions), ("rejects", manifest.rejects)):
            found[kind] = [row for e in entries for row in read_table(cache / e.path).to_pylist()]
        if manifest.space is not None:
            rows = np.arange(manifest.rows)
            found["ids"] = store.ids(rows)
            found["embeddings"] = np.asarray(store.embeddings).tobytes()
            queries = np.array(store.embeddings[:3], dtype=np.float32)
            for index in manifest.indexes:
                if not manifest.is_fresh(index):
                    continue
                centred = index.kind == CENTRING
                kind = "exact" if centred else index.kind
                hits = store.search(queries, 3, kind, centred=centred)
                found[f"hits {index.kind}"] = (hits.ids.tolist(), hits.scores.tobytes())
    return found


def state(cache: Path) -> Content | None:
    """The content of a cache, or that a reader is told that it is damaged."""
    try:
        return content(cache)
    except DamagedError:
        return DAMAGED


def _rows(found: Content | None) -> Content:
    """Of a content, what is not about indexes."""
    return {name: value for name, value in (found or {}).items() if not _INDEXES.match(name)}


def names(cache: Path) -> set[str]:
    """The files of a cache; the lease left out, and manifests and quarantine, which may grow."""
    return {
        path.relative_to(cache).as_posix()
        for path in cache.rglob("*")
        if path.is_file()
        and path.name not in _LEASES
        and path.parent.name not in ("manifest", QUARANTINE_FOLDER)
    }


def quarantined(cache: Path) -> set[str]:
    """The files that were moved aside; a note that was being written is none yet."""
    found = {path.name for path in (cache / QUARANTINE_FOLDER).glob("*")}
    return {name for name in found if not name.startswith(TMP_PREFIX)}


@dataclass
class Judge:
    """Knows a command's before and after, and judges what an accident left.

    Attributes:
        operation: The command.
        before: What a reader gets before.
        after: What a reader gets after an undisturbed run.
        files: The files after an undisturbed run.
        aside: What an undisturbed run moves to quarantine.
        seen: Hashes of what was judged: equal folders are judged once.
        between: What a reader gets between two publications; `before` if there is one only.
        rerun_every: Run the command again in every so many of the folders that differ.
        befores: How many folders were as before.
        afters: How many were as after.
    """

    operation: Operation
    before: Content | None
    after: Content | None
    files: set[str]
    aside: set[str]
    seen: dict[str, bool]
    between: Content | None
    rerun_every: int = 1
    befores: int = 0
    afters: int = 0

    @classmethod
    def of(cls, operation: Operation, template: Path, scratch: Path, rerun_every: int = 1) -> Judge:
        """Run the command undisturbed on a copy of `template`, the folder around the cache."""
        cache, between = scratch / "cache", None
        for act in (operation.between, operation.act):
            if act is None:
                continue
            clone(template, scratch)
            before = state(cache)
            act(cache)
            found, files, aside = content(cache), names(cache), quarantined(cache)
            drop(scratch)
            if act is operation.between:
                between = found
        assert found is not None
        assert found != before
        return cls(operation, before, found, files, aside, {}, between or before, rerun_every)

    def check(self, cache: Path, *, published: bool, marks: Sequence[str] = ()) -> None:
        """Raise AssertionError if a promise is broken.

        Args:
            cache: What the accident left; the command is run on it again.
            published: Whether the command had ended well: then only "after" will do.
            marks: What the command had told by then (`operations.tell`).
        """
        if self.operation.look is not None:
            self.operation.look(cache, marks)
        remembered = hashlib.sha256(b"".join(lines_of(cache.parent))).hexdigest()
        key = f"{published} {digest(cache.parent)} {remembered}"
        if key not in self.seen:
            self.seen[key] = self._check(cache, len(self.seen) % self.rerun_every == 0)
        is_after = self.seen[key]
        assert is_after or not published, "what was published is gone"
        self.afters += is_after
        self.befores += not is_after

    def _check(self, cache: Path, rerun: bool) -> bool:
        operation = self.operation
        found = state(cache) if operation.mends else content(cache)
        assert self._is_known(found), "neither before nor after"
        # What a repair published is whole; what it has yet to move aside is not.
        if found is not None and not operation.mends:
            assert verify_cache(cache).faults == []
        assert quarantined(cache) <= self.aside, "a whole file was taken for a damaged one"
        if rerun:
            (operation.again or operation.act)(cache)
            assert content(cache) == self.after, "the rerun gives something else"
            assert verify_cache(cache).faults == []
            assert operation.parts or names(cache) == self.files, "the rerun left or lost a file"
            assert not (cache / LEASE_NAME).exists()
            assert not list(cache.rglob(f"{TMP_PREFIX}*"))
        return found == self.after

    def _is_known(self, found: Content | None) -> bool:
        if found in (self.before, self.after) or _rows(found) == _rows(self.between):
            return True
        if self.operation.mends:
            return _rows(found) == _rows(self.after)
        if not self.operation.parts or found is None or self.after is None:
            return False
        return all(found[k] == self.after[k][: len(found[k])] for k in ("captions", "rejects"))


def digest(folder: Path) -> str:
    """A hash of a folder that does not change with dates, temporary names and the lease."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*"), key=lambda p: _plain(p.name.encode()) + bytes(p)):
        # What SQLite shares between processes it makes anew after an accident.
        if path.name in _LEASES or path.name == f"{_LEDGER}-shm":
            continue
        total.update(_plain(bytes(path.relative_to(folder))) + b"\0")
        if path.is_file():
            data = path.read_bytes()
            total.update(_plain(data) if path.suffix in (".json", ".md") else data)
    return total.hexdigest()


def _plain(data: bytes) -> bytes:
    return _PASSING.sub(b"", data)
