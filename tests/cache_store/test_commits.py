"""Files committed by workers, beside the process that holds the lease."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from cache_store.cache import open_cache
from cache_store.commits import commit_data, commit_table
from cache_store.errors import DataError
from cache_store.manifest import FileEntry
from cache_store.shards import from_matrix
from cache_store.verify import verify_cache
from cache_store.writer import open_writer
from tests.cache_store.builders import DIM, SPACE, add_step, captions, data_table, unit_rows


def _commit(folder: str, first: int) -> FileEntry:
    return commit_data(Path(folder), data_table(10, first), SPACE, source=f"{first // 10}" * 64)


def test_workers_commit_while_another_process_holds_the_lease_and_publishes(
    tmp_path: Path,
) -> None:
    add_step(tmp_path, 10)
    with open_writer(tmp_path) as writer:
        before = writer.current
        context = multiprocessing.get_context("spawn")
        with context.Pool(2) as pool:
            jobs = [(str(tmp_path), first) for first in (10, 20, 30, 30)]  # one of them twice
            files = pool.starmap(_commit, jobs)
        assert files[2] == files[3] and files[2].source == "3" * 64
        assert files[0] == writer.write_data(data_table(10, 10), SPACE, "1" * 64)
        # Nobody sees them yet, and a run that comes after would find them.
        with open_cache(tmp_path) as store:
            assert len(store) == 10
        assert writer.unlisted_data(SPACE, "float16") == {file.source: file for file in files}
        writer.publish(data=(*before.data, files[0]))
    with open_cache(tmp_path) as store:
        assert store.captions(range(10, 20)) == captions(10, 10)
    report = verify_cache(tmp_path)
    assert report.whole
    unpublished = {f"{file.path}: no manifest names it" for file in files[1:]}
    assert unpublished <= set(report.notes)


def test_what_a_column_does_not_promise_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no rows"):
        commit_table(tmp_path, "data", data_table(3).slice(0, 0))
    long = from_matrix(2 * unit_rows(3))
    table = data_table(3).set_column(6, "embedding", long)
    with pytest.raises(DataError, match="norm"):
        commit_data(tmp_path, table, SPACE)
    table = data_table(3).set_column(1, "caption", pa.nulls(3, pa.string()))
    with pytest.raises(DataError, match="caption"):
        commit_data(tmp_path, table, SPACE)
    table = data_table(3).set_column(6, "embedding", from_matrix(np.full((3, DIM), np.nan)))
    with pytest.raises(DataError):
        commit_data(tmp_path, table, SPACE)
    assert not list(tmp_path.rglob("*.parquet"))
