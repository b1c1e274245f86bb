from __future__ import annotations

from pathlib import Path

from cache_store.errors import EXIT_DATA, EXIT_OK, EXIT_USAGE
from tests.pipeline.cli.conftest import Cli
from tests.pipeline.materials import captions, write_lines


def test_the_first_captions_one_a_line(captions_cache: Path, cli: Cli) -> None:
    outcome = cli("show", captions_cache, "--rows", "3")
    assert outcome.code == EXIT_OK
    assert outcome.out.splitlines() == [f"{i}  {text}" for i, text in enumerate(captions(3))]
    assert "3 of 12 rows" in outcome.err


def test_a_random_sample_as_json(embedded_cache: Path, cli: Cli) -> None:
    one = cli("show", embedded_cache, "--rows", "4", "--seed", "3", "--json").json
    two = cli("show", embedded_cache, "--rows", "4", "--seed", "3", "--json").json
    assert one == two
    assert (len(one["rows"]), one["total"], one["file"]) == (4, 12, None)
    assert {row["caption"] for row in one["rows"]} <= set(captions(12))


def test_what_was_refused_and_why(tmp_path: Path, cli: Cli) -> None:
    source = write_lines(tmp_path / "in.txt", ["a dog", "x" * 1500])
    cli("import", tmp_path / "c", "--captions", source)
    outcome = cli("show", tmp_path / "c", "--rejects")
    assert outcome.out.startswith("0  too_long: xxx")


def test_one_file(embedded_cache: Path, cli: Cli) -> None:
    (path,) = (embedded_cache / "data").glob("*.parquet")
    outcome = cli("show", embedded_cache, "--shard", path.name[:10], "--rows", "1")
    assert outcome.code == EXIT_OK
    assert f"data/{path.name}" in outcome.err and "rows 12" in outcome.err
    assert cli("show", embedded_cache, "--shard", "zzz").code == EXIT_USAGE


def test_nothing_to_show(tmp_path: Path, captions_cache: Path, cli: Cli) -> None:
    assert cli("show", tmp_path / "missing").code == EXIT_DATA
    assert cli("show", captions_cache, "--rejects").code == EXIT_DATA
