from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from cache_store.errors import EXIT_DATA, EXIT_MISMATCH, EXIT_OK, EXIT_USAGE
from cache_store.manifest import newest_manifest
from cache_store.writer import open_writer
from tests.pipeline.cli.conftest import Cli, Powerless
from tests.pipeline.materials import captions, write_lines, write_vectors


def test_the_summary_counts_and_names_the_next_command(tmp_path: Path, cli: Cli) -> None:
    source = write_lines(tmp_path / "in.txt", [*captions(3), "a dog", "a dog", ""])
    outcome = cli("import", tmp_path / "my cache", "--captions", source)
    assert outcome.code == EXIT_OK
    facts = dict(line.strip().split("  ", 1) for line in outcome.out.splitlines()[1:-1])
    assert facts["captions added"].strip() == "4"
    assert facts["refused"].strip() == "empty 1"
    assert f"next: lqtse-cache embed '{tmp_path}/my cache'" in outcome.out
    assert "--rejects" in outcome.err


def test_json_is_one_object_with_the_same_facts(tmp_path: Path, cli: Cli) -> None:
    source = write_lines(tmp_path / "in.txt", [*captions(3), ""])
    facts = cli("import", tmp_path / "c", "--captions", source, "--json").json
    assert facts["captions_added"] == 3
    assert facts["refused"] == {"empty": 1}
    assert facts["not_embedded_yet"] == 3
    assert facts["next_command"].startswith("lqtse-cache embed")


def test_twice_adds_nothing_and_says_so(tmp_path: Path, cli: Cli) -> None:
    source = write_lines(tmp_path / "in.txt", captions(3))
    cli("import", tmp_path / "c", "--captions", source)
    outcome = cli("import", tmp_path / "c", "--captions", source)
    assert outcome.code == EXIT_OK
    assert "nothing to add" in outcome.err


def test_embeddings_need_no_embed(tmp_path: Path, cli: Cli) -> None:
    source = write_vectors(
        tmp_path / "in.parquet", captions(3), space="theirs", label=["dog", "rain", "sea"]
    )
    outcome = cli(
        *("import", tmp_path / "c", "--captions", source, "--embeddings"),
        *("--where", "label not in ('dog', 'sea')", "--dtype", "float16", "--json"),
    )
    assert outcome.json["captions_added"] == 1
    assert outcome.json["filtered_out"] == 2
    assert (outcome.json["space"], outcome.json["dtype"]) == ("theirs", "float16")
    assert outcome.json["next_command"].startswith("lqtse-cache index")


def test_an_error_as_json_has_its_kind_and_code(tmp_path: Path, cli: Cli) -> None:
    outcome = cli("import", tmp_path / "c", "--captions", tmp_path / "none.txt", "--json")
    assert outcome.code == EXIT_USAGE
    assert outcome.json["error"]["type"] == "UsageError"
    assert outcome.json["error"]["exit_code"] == EXIT_USAGE


def test_captions_that_are_not_utf8(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "in.txt").write_bytes("a dog\nun chêne\n".encode("latin1"))
    outcome = cli("import", tmp_path / "c", "--captions", tmp_path / "in.txt")
    assert outcome.code == EXIT_DATA
    assert "line 2, byte 11" in outcome.error


def test_embeddings_of_another_space(embedded_cache: Path, tmp_path: Path, cli: Cli) -> None:
    source = write_vectors(tmp_path / "in.parquet", captions(3), space="another")
    outcome = cli("import", embedded_cache, "--captions", source, "--embeddings")
    assert outcome.code == EXIT_MISMATCH
    assert "elsewhere" in outcome.error and "another" in outcome.error


def test_two_writers_at_once(captions_cache: Path, tmp_path: Path, cli: Cli) -> None:
    source = write_lines(tmp_path / "more.txt", captions(20))
    with open_writer(captions_cache):
        outcome = cli("import", captions_cache, "--captions", source)
    assert outcome.code == EXIT_MISMATCH
    assert f"process {os.getpid()}" in outcome.error
    manifest = newest_manifest(captions_cache)
    assert manifest is not None and manifest.number == 1
    assert cli("import", captions_cache, "--captions", source).code == EXIT_OK


@pytest.mark.parametrize("existing", [False, True])
def test_a_folder_that_cannot_be_written(cli: Cli, powerless: Powerless, existing: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is closed to others
        Path(folder).chmod(0o755)
        source = write_lines(Path(folder) / "in.txt", captions(5))
        cache = Path(folder) / "c"
        if existing:
            cli("import", cache, "--captions", source)
            write_lines(source, captions(9))
        for path in (*cache.rglob("*"), cache, Path(folder)):
            if path.is_dir():
                path.chmod(0o555)
        with powerless():
            outcome = cli("import", cache, "--captions", source)
        assert outcome.code == EXIT_DATA
        assert (
            "permission denied" in outcome.error and "Nothing that was committed" in outcome.error
        )
        manifest = newest_manifest(cache)
        assert (manifest is not None) == existing
        for path in (Path(folder), cache, *cache.rglob("*")):
            if path.is_dir():
                path.chmod(0o755)


@pytest.mark.parametrize("below", ["file.txt", "file.txt/c"])
def test_a_cache_where_a_file_is(tmp_path: Path, cli: Cli, below: str) -> None:
    source = write_lines(tmp_path / "file.txt", captions(3))
    outcome = cli("import", tmp_path / below, "--captions", source)
    assert outcome.code in (EXIT_USAGE, EXIT_DATA)
    assert "file.txt" in outcome.error
    assert source.is_file()


def test_a_folder_of_somebody_elses(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "README.md").write_text("mine")
    source = write_lines(tmp_path / "in.txt", captions(3))
    outcome = cli("import", tmp_path / "home", "--captions", source)
    assert outcome.code == EXIT_USAGE
    assert (tmp_path / "home" / "README.md").read_text() == "mine"
