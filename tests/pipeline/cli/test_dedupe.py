from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cache_store.errors import EXIT_OK, EXIT_USAGE
from tests.pipeline.cli.conftest import Cli
from tests.pipeline.materials import captions, write_vectors


@pytest.fixture
def circle(tmp_path: Path, cli: Cli) -> Path:
    """Four captions, the last one degree from the first."""
    angles = np.deg2rad([0, 60, 120, 1])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    file = write_vectors(tmp_path / "a.parquet", captions(4), rows)
    assert cli("import", tmp_path / "c", "--captions", file, "--embeddings").code == EXIT_OK
    return tmp_path / "c"


def test_nothing_is_removed_before_a_threshold_is_named(circle: Path, cli: Cli) -> None:
    outcome = cli("dedupe", circle)
    assert outcome.code == EXIT_USAGE and "--dry-run" in outcome.error


def test_a_look_shows_quantiles_counts_and_examples(circle: Path, cli: Cli) -> None:
    outcome = cli("dedupe", circle, "--dry-run")
    assert outcome.code == EXIT_OK
    texts = captions(4)
    assert f"0.9998  {texts[3]}  |  {texts[0]}" in outcome.out
    assert "50% of captions at most" in outcome.out
    facts = cli("dedupe", circle, "--dry-run", "--json").json
    assert facts["steps"][0]["captions"] == 1 and len(facts["quantiles"]) == 8


def test_from_a_dry_run_to_the_run(circle: Path, cli: Cli) -> None:
    outcome = cli("dedupe", circle, "--threshold", "0.99", "--dry-run")
    assert "would be removed  1" in outcome.out
    assert outcome.out.splitlines()[-1].endswith("--threshold 0.99")
    facts = cli("dedupe", circle, "--threshold", "0.99", "--json").json
    assert (facts["removed"], facts["left"], facts["dry"]) == (1, 3, False)
    assert cli("stats", circle, "--json").json["captions"] == 3
