from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cache_store.errors import EXIT_DATA, EXIT_MISMATCH, EXIT_OK, EXIT_USAGE
from tests.pipeline.cli.conftest import Cli
from tests.pipeline.materials import captions, unit_vector, write_lines, write_vectors


@pytest.fixture
def tiny_cache(captions_cache: Path, cli: Cli) -> Path:
    """Twelve captions embedded with `tiny`."""
    assert cli("embed", captions_cache, "--space", "tiny").code == EXIT_OK
    return captions_cache


def test_the_nearest_caption_of_a_caption_is_itself(tiny_cache: Path, cli: Cli) -> None:
    text = captions(12)[4]
    outcome = cli("search", tiny_cache, text, "-k", "3")
    assert outcome.code == EXIT_OK
    lines = outcome.out.splitlines()
    assert len(lines) == 3
    rank, score, found = lines[0].split(maxsplit=2)
    assert (rank, found) == ("1", text)
    assert float(score) == pytest.approx(1.0, abs=1e-3)  # stored as float16


def test_json_has_rank_score_id_and_row(tiny_cache: Path, cli: Cli) -> None:
    facts = cli("search", tiny_cache, "a dog", "--json", "-k", "12").json
    assert facts["space"] == "tiny"
    results = facts["results"]
    assert [found["rank"] for found in results] == list(range(1, 13))
    assert sorted(found["row"] for found in results) == list(range(12))
    scores = [found["score"] for found in results]
    assert scores == sorted(scores, reverse=True)


def test_a_recording_can_be_the_query(tiny_cache: Path, tmp_path: Path, cli: Cli) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 16000).astype(np.float32)
    soundfile.write(tmp_path / "noise.wav", noise, 16000)
    outcome = cli("search", tiny_cache, "--audio", tmp_path / "noise.wav", "-k", "2", "--json")
    assert outcome.code == EXIT_OK
    assert len(outcome.json["results"]) == 2


@pytest.mark.parametrize("content", [None, b"", b"no audio"])
def test_a_recording_that_cannot_be_read(
    tiny_cache: Path, tmp_path: Path, cli: Cli, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "x.wav").write_bytes(content)
    outcome = cli("search", tiny_cache, "--audio", tmp_path / "x.wav")
    assert outcome.code == EXIT_DATA
    assert "x.wav" in outcome.error


def test_a_recording_without_samples(tiny_cache: Path, tmp_path: Path, cli: Cli) -> None:
    soundfile.write(tmp_path / "x.wav", np.zeros(0, dtype=np.float32), 16000)
    outcome = cli("search", tiny_cache, "--audio", tmp_path / "x.wav")
    assert outcome.code == EXIT_DATA


def test_more_neighbours_than_captions(embedded_cache: Path, cli: Cli) -> None:
    outcome = cli("search", embedded_cache, captions(1)[0], "-k", "13")
    assert outcome.code == EXIT_USAGE
    assert "12" in outcome.error and "13" in outcome.error


def test_a_cache_that_only_names_its_space_finds_its_own_captions(
    embedded_cache: Path, cli: Cli
) -> None:
    text = captions(12)[7]
    outcome = cli("search", embedded_cache, f"  {text} ", "-k", "12", "--json")
    assert outcome.code == EXIT_OK
    assert "elsewhere" in outcome.err
    scores = {found["row"]: found["score"] for found in outcome.json["results"]}
    for row, other in enumerate(captions(12)):
        expected = float(unit_vector(text) @ unit_vector(other))
        assert scores[row] == pytest.approx(expected, abs=1e-6)  # float32 throughout


def test_such_a_cache_says_what_other_texts_need(embedded_cache: Path, cli: Cli) -> None:
    outcome = cli("search", embedded_cache, "something else")
    assert outcome.code == EXIT_USAGE
    assert "elsewhere" in outcome.error and "--space" in outcome.error
    outcome = cli("search", embedded_cache, "--audio", "x.wav")
    assert outcome.code == EXIT_USAGE


def test_a_stored_table_of_the_same_space_is_a_model(
    embedded_cache: Path, tmp_path: Path, cli: Cli
) -> None:
    table = write_vectors(tmp_path / "more.parquet", [*captions(3), "a new text"], space=None)
    words = ("search", embedded_cache, "a new text", "--space", f"stored:{table}")
    assert cli(*words).code == EXIT_USAGE  # the table does not say what it is
    assert cli(*words, "--space-name", "other").code == EXIT_MISMATCH
    outcome = cli(*words, "--space-name", "elsewhere", "-k", "1", "--json")
    assert outcome.code == EXIT_OK, outcome.err
    scores = [unit_vector("a new text") @ unit_vector(text) for text in captions(12)]
    assert outcome.json["results"][0]["row"] == int(np.argmax(scores))


def test_a_model_of_another_space_is_refused_naming_both(embedded_cache: Path, cli: Cli) -> None:
    outcome = cli("search", embedded_cache, "a dog", "--space", "tiny")
    assert outcome.code == EXIT_MISMATCH
    assert "elsewhere" in outcome.error and "tiny" in outcome.error


@pytest.mark.parametrize("words", [[], ["a dog", "--audio", "x.wav"], [" "]])
def test_exactly_one_query(embedded_cache: Path, cli: Cli, words: list[str]) -> None:
    assert cli("search", embedded_cache, *words).code == EXIT_USAGE


def test_no_cache_no_captions_no_embeddings(tmp_path: Path, captions_cache: Path, cli: Cli) -> None:
    (tmp_path / "empty").mkdir()
    for cache in (tmp_path / "missing", tmp_path / "empty"):
        outcome = cli("search", cache, "a dog")
        assert outcome.code == EXIT_DATA
        assert "lqtse-cache import" in outcome.error
    outcome = cli("search", captions_cache, "a dog")
    assert outcome.code == EXIT_DATA
    assert "lqtse-cache embed" in outcome.error


def test_a_truncated_file_is_named(embedded_cache: Path, cli: Cli) -> None:
    (path,) = (embedded_cache / "data").glob("*.parquet")
    path.write_bytes(path.read_bytes()[:-50])
    outcome = cli("search", embedded_cache, captions(1)[0])
    assert outcome.code == EXIT_DATA
    assert path.name in outcome.error


def test_a_lost_file_is_named(embedded_cache: Path, cli: Cli) -> None:
    shutil.rmtree(embedded_cache / "data")
    outcome = cli("search", embedded_cache, captions(1)[0])
    assert outcome.code == EXIT_DATA
    assert ".parquet" in outcome.error


def test_an_index_older_than_the_data(embedded_cache: Path, tmp_path: Path, cli: Cli) -> None:
    assert cli("index", embedded_cache, "--kind", "flat").code == EXIT_OK
    query = ("search", embedded_cache, captions(1)[0], "-k", "1")
    assert cli(*query, "--kind", "flat").code == EXIT_OK
    more = write_vectors(tmp_path / "more.parquet", captions(3, first=12), space="elsewhere")
    assert cli("import", embedded_cache, "--captions", more, "--embeddings").code == EXIT_OK
    outcome = cli(*query, "--kind", "flat")
    assert outcome.code == EXIT_MISMATCH
    assert "lqtse-cache index" in outcome.error
    # Without being asked for, an old index is never used: the new rows are found.
    found = cli("search", embedded_cache, captions(15)[14], "-k", "1", "--json").json
    assert (found["kind"], found["results"][0]["row"]) == ("exact", 14)


def test_an_index_that_was_not_built(embedded_cache: Path, cli: Cli) -> None:
    outcome = cli("search", embedded_cache, captions(1)[0], "--kind", "hnsw")
    assert outcome.code == EXIT_USAGE
    assert "lqtse-cache index" in outcome.error


def test_captions_added_later_are_not_lost_on_a_search(
    tiny_cache: Path, tmp_path: Path, cli: Cli
) -> None:
    source = write_lines(tmp_path / "more.txt", captions(20))
    assert cli("import", tiny_cache, "--captions", source).code == EXIT_OK
    assert cli("search", tiny_cache, "a dog", "-k", "13").code == EXIT_USAGE
    assert cli("embed", tiny_cache).code == EXIT_OK  # the recorded space: tiny
    assert cli("search", tiny_cache, "a dog", "-k", "20").code == EXIT_OK


def test_a_centred_search_says_so_and_takes_off_the_mean_of_texts(
    embedded_cache: Path, cli: Cli
) -> None:
    text = captions(12)[7]
    refused = cli("search", embedded_cache, text, "--centred")
    assert refused.code == EXIT_USAGE and "index" in refused.error and "--centre" in refused.error
    assert cli("index", embedded_cache, "--centre").code == EXIT_OK
    outcome = cli("search", embedded_cache, text, "-k", "12", "--centred", "--json")
    assert outcome.json["centred"] is True
    assert "centred by the means of 12 captions" in outcome.json["why"]
    vectors = np.stack([unit_vector(caption) for caption in captions(12)]).astype(np.float64)
    vectors -= vectors.mean(axis=0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for found in outcome.json["results"]:
        expected = float(vectors[7] @ vectors[found["row"]])
        assert found["score"] == pytest.approx(expected, abs=1e-5)  # float32 throughout
    shown = cli("search", embedded_cache, text, "--centred")
    assert "centred by the means" in shown.err
    plain = cli("search", embedded_cache, text, "--json").json
    assert plain["centred"] is False and "centred" not in plain["why"]
