from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from cache_store.clips import read_clips
from cache_store.errors import UsageError
from pipeline.grow.output import check_clips, states, write_table_of_clips
from tests.pipeline.grow.world import CAPTIONS, captions_of, grow


def test_the_table_says_where_each_clip_stood_and_stands(
    cache: Path, audio: Path, tmp_path: Path
) -> None:
    report = grow(cache, audio, n=40)
    output = tmp_path / "clips.parquet"
    check_clips(output, audio)
    write_table_of_clips(cache, report, output)
    rows = pq.read_table(output).to_pylist()
    assert len(rows) == 20
    assert [row["state_before"] for row in rows] == states(report.before)
    assert [row["state"] for row in rows] == states(report.after)
    texts = captions_of(cache)
    vectors = report.prepared.recordings.vectors
    embedded = report.prepared.model.embed_text(texts)
    for row, vector in zip(rows, vectors, strict=True):
        cosines = embedded @ vector
        # Stored as float16: another caption may win by less than that rounds.
        assert row["nearest_score"] == pytest.approx(cosines.max(), abs=2e-3)
        assert row["nearest_before"] in texts[:CAPTIONS]
        assert row["nearest_score_before"] <= row["nearest_score"]
        assert row["gap"] <= row["gap_before"]
    check_clips(output, audio)  # one of its own may be replaced


def test_it_is_a_manifest_that_grow_takes_again(cache: Path, audio: Path, tmp_path: Path) -> None:
    first = grow(cache, audio, ask=False)
    write_table_of_clips(cache, first, tmp_path / "clips.parquet")
    table = read_clips(tmp_path / "clips.parquet")
    assert table.space is not None and table.space.name == "tiny"
    again = grow(cache, tmp_path / "clips.parquet", ask=False)
    assert again.prepared.recordings.stored
    assert np.array_equal(again.before.far, first.before.far)


def test_a_file_of_somebody_else_is_not_replaced(tmp_path: Path, audio: Path) -> None:
    (tmp_path / "mine.parquet").write_bytes(b"mine")
    with pytest.raises(UsageError, match="not written by this command"):
        check_clips(tmp_path / "mine.parquet", audio)
