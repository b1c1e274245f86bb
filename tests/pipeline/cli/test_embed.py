from __future__ import annotations

from pathlib import Path

from cache_store.errors import EXIT_DATA, EXIT_MISMATCH, EXIT_OK, EXIT_USAGE
from cache_store.manifest import newest_manifest
from cache_store.writer import open_writer
from tests.cache_store.spaces import models
from tests.pipeline.cli.conftest import Cli
from tests.pipeline.materials import captions, write_lines, write_vectors


def test_tiny_is_the_default_and_said(captions_cache: Path, cli: Cli) -> None:
    facts = cli("embed", captions_cache, "--json").json
    assert (facts["captions_embedded"], facts["space"], facts["dtype"]) == (12, "tiny", "float16")
    assert facts["next_command"].startswith("lqtse-cache index")
    outcome = cli("embed", captions_cache)
    assert outcome.code == EXIT_OK
    assert "nothing to do" in outcome.err


def test_the_precision_is_said_and_a_mixture_too(
    captions_cache: Path, tmp_path: Path, cli: Cli
) -> None:
    space = f"hf:{models.hf_folder(tmp_path / 'clap')}"
    options = ("--space", space, "--device", "cpu", "--workers", "1")
    facts = cli("embed", captions_cache, *options, "--precision", "float32", "--json").json
    assert facts["precision"] == "float32"
    source = write_lines(tmp_path / "more.txt", captions(20))
    cli("import", captions_cache, "--captions", source)
    outcome = cli("embed", captions_cache, *options, "--precision", "bfloat16")
    assert "in bfloat16 and in float32" in outcome.err


def test_another_space_is_refused_naming_both(
    embedded_cache: Path, tmp_path: Path, cli: Cli
) -> None:
    source = write_lines(tmp_path / "more.txt", captions(20))
    cli("import", embedded_cache, "--captions", source)
    outcome = cli("embed", embedded_cache, "--space", "tiny")
    assert outcome.code == EXIT_MISMATCH
    assert "elsewhere" in outcome.error and "tiny" in outcome.error


def test_a_stored_table_embeds_the_captions_that_it_has(
    captions_cache: Path, tmp_path: Path, cli: Cli
) -> None:
    table = write_vectors(tmp_path / "few.parquet", captions(5), space="theirs")
    outcome = cli("embed", captions_cache, "--space", f"stored:{table}")
    assert outcome.code == EXIT_DATA
    assert "7 of 12" in outcome.error
    manifest = newest_manifest(captions_cache)
    assert manifest is not None and manifest.data == ()
    table = write_vectors(tmp_path / "all.parquet", captions(12), space="theirs")
    assert cli("embed", captions_cache, "--space", f"stored:{table}").code == EXIT_OK


def test_a_space_that_does_not_exist(captions_cache: Path, cli: Cli) -> None:
    assert cli("embed", captions_cache, "--space", "clap").code == EXIT_USAGE
    for spec in ("laion:none.pt", "stored:none.parquet"):
        outcome = cli("embed", captions_cache, "--space", spec)
        assert outcome.code in (EXIT_USAGE, EXIT_DATA)
        assert "none." in outcome.error


def test_no_cache_and_an_empty_folder(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "empty").mkdir()
    for folder in ("missing", "empty"):
        outcome = cli("embed", tmp_path / folder)
        assert outcome.code == EXIT_DATA
        assert "lqtse-cache import" in outcome.error
    assert not (tmp_path / "missing").exists()


def test_two_writers_at_once(captions_cache: Path, cli: Cli) -> None:
    with open_writer(captions_cache):
        assert cli("embed", captions_cache).code == EXIT_MISMATCH
