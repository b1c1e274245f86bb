from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from cache_store.errors import EXIT_DATA, EXIT_OK, EXIT_USAGE
from tests.pipeline.cli.conftest import Cli, Powerless
from tests.pipeline.materials import DIM, unit_vector


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Two recordings, one of them cut to nothing, with stored embeddings."""
    soundfile.write(tmp_path / "a.wav", np.full(800, 0.1), 8000)
    (tmp_path / "b.wav").touch()
    vectors = pa.array([unit_vector(name).tolist() for name in "ab"], pa.list_(pa.float32(), DIM))
    table = pa.table({"path": ["a.wav", "b.wav"], "embedding": vectors})
    pq.write_table(
        table.replace_schema_metadata({"lqtse.space": "elsewhere"}), tmp_path / "m.parquet"
    )
    return tmp_path / "m.parquet"


def test_bad_recordings_are_counted_and_named_in_a_file(
    embedded_cache: Path, manifest: Path, tmp_path: Path, cli: Cli
) -> None:
    output = tmp_path / "clips.parquet"
    outcome = cli("join", embedded_cache, manifest, "-o", output, "-k", "3", "--json")
    assert outcome.code == EXIT_OK
    facts = outcome.json
    assert (facts["clips"], facts["rejected"], facts["neighbours_a_clip"]) == (1, 1, 3)
    assert facts["next_command"].startswith("lqtse train --cache")
    assert "clips.rejects.csv" in outcome.err
    assert "b.wav" in (tmp_path / "clips.rejects.csv").read_text()


def test_more_neighbours_than_captions(
    embedded_cache: Path, manifest: Path, tmp_path: Path, cli: Cli
) -> None:
    outcome = cli("join", embedded_cache, manifest, "-o", tmp_path / "o.parquet", "-k", "13")
    assert outcome.code == EXIT_USAGE and "12" in outcome.error


def test_an_output_that_cannot_be_written(
    embedded_cache: Path, manifest: Path, cli: Cli, powerless: Powerless, tmp_path: Path
) -> None:
    outcome = cli("join", embedded_cache, manifest, "-o", tmp_path / "no" / "o.parquet")
    assert outcome.code == EXIT_USAGE
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is closed to others
        Path(folder).chmod(0o755)
        for source in (embedded_cache, manifest, tmp_path / "a.wav"):
            _copy(source, Path(folder) / source.name)
        Path(folder).chmod(0o555)
        with powerless():
            outcome = cli(
                *("join", Path(folder) / embedded_cache.name, Path(folder) / manifest.name),
                *("-o", Path(folder) / "o.parquet"),
            )
        Path(folder).chmod(0o755)
    assert outcome.code == EXIT_DATA
    assert "permission denied" in outcome.error


def _copy(source: Path, target: Path) -> None:
    import shutil

    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_no_audio(embedded_cache: Path, tmp_path: Path, cli: Cli, name: str) -> None:
    (tmp_path / "empty").mkdir()
    outcome = cli("join", embedded_cache, tmp_path / name, "-o", tmp_path / "o.parquet")
    assert outcome.code in (EXIT_USAGE, EXIT_DATA)
    assert name in outcome.error
    assert not (tmp_path / "o.parquet").exists()
