from __future__ import annotations

from pathlib import Path

from cache_store.errors import EXIT_DATA, EXIT_OK, EXIT_USAGE
from cache_store.spaces.tiny.recordings import write_recordings
from tests.pipeline.cli.conftest import Cli
from tests.pipeline.materials import captions, write_lines


def test_auto_says_what_it_picked_and_why(embedded_cache: Path, cli: Cli) -> None:
    outcome = cli("index", embedded_cache)
    assert outcome.code == EXIT_OK
    assert "exact" in outcome.out and "12 captions are few" in outcome.out
    assert "next: lqtse-cache search" in outcome.out


def test_json_has_the_recall_of_an_approximate_index(embedded_cache: Path, cli: Cli) -> None:
    facts = cli("index", embedded_cache, "--kind", "hnsw", "--json").json
    assert (facts["kind"], facts["captions"], facts["measured_with"]) == ("hnsw", 12, "captions")
    assert 0.0 <= facts["recall_at_10"] <= 1.0


def test_nothing_embedded_and_no_cache(captions_cache: Path, tmp_path: Path, cli: Cli) -> None:
    outcome = cli("index", captions_cache)
    assert outcome.code == EXIT_DATA and "lqtse-cache embed" in outcome.error
    assert cli("index", tmp_path / "missing").code == EXIT_DATA


def test_queries_that_are_not_there(embedded_cache: Path, tmp_path: Path, cli: Cli) -> None:
    outcome = cli("index", embedded_cache, "--kind", "hnsw", "--queries", tmp_path / "no.parquet")
    assert outcome.code == EXIT_USAGE and "no.parquet" in outcome.error


def test_recordings_are_heard_as_queries(tmp_path: Path, cli: Cli) -> None:
    write_recordings(tmp_path / "audio", ("dog", "rain"), 2, seed=3, seconds=1.0)
    (tmp_path / "audio" / "broken.wav").write_text("no audio")
    cache, source = tmp_path / "c", write_lines(tmp_path / "in.txt", captions(20))
    assert cli("import", cache, "--captions", source).code == EXIT_OK
    assert cli("embed", cache, "--space", "tiny", "--device", "cpu").code == EXIT_OK
    outcome = cli("index", cache, "--kind", "hnsw", "--queries", tmp_path / "audio", "--json")
    assert outcome.code == EXIT_OK
    assert (outcome.json["measured_with"], outcome.json["recordings_heard"]) == ("given", 4)
    assert "1 recordings cannot be used; the first: broken.wav" in outcome.err
    outcome = cli("report", cache, "--queries", tmp_path / "audio", "--json")
    assert outcome.code == EXIT_OK and outcome.json["audio"]["clips"] == 4
    assert "1 recordings cannot be used" in outcome.err


def test_means_are_stored_if_that_is_asked_for(embedded_cache: Path, cli: Cli) -> None:
    assert cli("index", embedded_cache, "--json").json.get("means_for_centring") is None
    outcome = cli("index", embedded_cache, "--centre")
    assert outcome.code == EXIT_OK
    assert "12 captions" in outcome.out and "no audio mean" in outcome.err
    assert cli("stats", embedded_cache, "--json").json["means_for_centring"] == "12 captions"
