from __future__ import annotations

from pathlib import Path

import pytest

from cache_store.errors import EXIT_DATA, EXIT_MISMATCH, EXIT_OK, EXIT_USAGE
from pipeline.llm.scripted import Call
from pipeline.llm.scripted_batches import BatchScript
from pipeline.llm.scripted_server import ScriptedServer
from tests.pipeline.cli.conftest import Cli
from tests.pipeline.grow.world import HEARD, manifest_of, poor_cache, recordings
from tests.pipeline.materials import write_lines, write_vectors


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recordings(tmp_path_factory.mktemp("audio"), ("dog", "rain"), 4)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return poor_cache(tmp_path / "cache", 80)


@pytest.fixture
def heard(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "heard.txt", HEARD)


def test_measure_then_grow_then_nothing_to_do(
    cache: Path, audio: Path, heard: Path, tmp_path: Path, cli: Cli
) -> None:
    common = ("grow", cache, audio, "--concepts", heard, "--json")
    measured = cli(*common, "--dry-run", "--plot", tmp_path / "before.png")
    assert measured.code == EXIT_OK, measured.err
    assert measured.json["ended"] == "nothing was asked"
    assert "dog" in measured.json["next_concepts"]
    assert measured.json["captions_added"] == 0
    assert (tmp_path / "before.png").read_bytes().startswith(b"\x89PNG")

    grown = cli(*common, "--backend", "grammar", "-n", 20, "--clips", tmp_path / "clips.parquet")
    assert grown.code == EXIT_OK, grown.err
    facts = grown.json
    assert facts["captions_added"] == facts["rounds"][0]["captions"] == 10
    assert facts["after"]["coverage"] > facts["before"]["coverage"]
    assert facts["before"]["interval"][0] <= facts["before"]["coverage"]
    assert facts["next_command"].startswith("lqtse-cache index")
    assert Path(facts["plot"]) == cache / "report" / "grow.png" and Path(facts["plot"]).is_file()
    assert (tmp_path / "clips.parquet").is_file()
    assert "no language model is involved" in grown.err

    before = manifest_of(cache)
    again = cli(*common, "--backend", "grammar", "-n", 20)
    assert again.json["rounds"] == facts["rounds"]
    assert manifest_of(cache) == before


def test_in_batches_it_goes_on_where_it_waits_and_retry_knows_its_rounds(
    cache: Path, audio: Path, heard: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    well, unlucky = False, ""

    def script(call: Call) -> str:
        nonlocal unlucky
        unlucky = unlucky or call.request.id  # whoever comes first
        return "server_error" if call.request.id == unlucky and not well else "good"

    with ScriptedServer(script, batches=BatchScript(polls=2)) as server:
        asked = ("--concepts", heard, "--backend", "openai-batch", "--model", "m")
        asked = (*asked, "--base-url", server.url, "--poll", 0.01)
        first = cli("grow", cache, audio, *asked, "-n", 10, "--no-wait", "--json")
        assert first.code == EXIT_OK, first.err
        assert first.json["ended"] == "a batch is on its way: run the same command later"
        assert first.json["captions_added"] == 0 and server.calls.total() == 0
        (plan,) = cli("status", cache, "--json").json["plans"]
        assert plan["in_batches"] == server.batches.sizes[0] > 1

        grown = cli("grow", cache, audio, *asked, "-n", 10, "--json")
        assert grown.code == EXIT_OK, grown.err
        assert grown.json["captions_added"] == grown.json["rounds"][0]["captions"] == 5
        assert grown.json["after"]["coverage"] > grown.json["before"]["coverage"]
        assert server.batches.files.stored == {}
        assert sorted(set(server.calls.values())) == [1, 3], "only what failed was asked again"
        (plan,) = cli("status", cache, "--json").json["plans"]
        assert plan["failed"] == {"no_answer: server_error": 1}

        well, before = True, server.calls.total()
        again = cli("retry", cache, *asked, "--json")
        assert again.code == EXIT_OK, again.err
        assert (again.json["failures"], again.json["answered_now"]) == (1, 1)
        assert server.calls.total() == before + 1
    (plan,) = cli("status", cache, "--json").json["plans"]
    assert (plan["failed"], plan["in_batches"]) == ({}, 0)
    steps = [step for step in manifest_of(cache).provenance if "next_request" in step]
    assert [step["step"] for step in steps] == ["generate", "retry"]
    assert {step["concepts_from"] for step in steps} == {"heard.txt"}


def test_the_summary_in_words(cache: Path, audio: Path, heard: Path, cli: Cli) -> None:
    outcome = cli("grow", cache, audio, "--concepts", heard, "--backend", "grammar", "-n", 20)
    assert outcome.code == EXIT_OK
    assert f"grew {cache}" in outcome.out
    assert "round 1, captions" in outcome.out and "dog 10" in outcome.out
    assert "clips are covered" in outcome.out
    assert "no clip is far" in outcome.out


def test_a_general_list_in_the_tiny_space_is_warned_of(
    cache: Path, audio: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prompts.bank import ConceptBank

    small = ConceptBank.from_names(HEARD)  # to word a thousand concepts takes a while
    monkeypatch.setattr("pipeline.concepts.read_concepts", lambda _: small)
    outcome = cli("grow", cache, audio, "--dry-run")
    assert outcome.code == EXIT_OK
    assert "warning: the space tiny knows some fifty kinds of sound" in outcome.err


def test_what_cannot_work_is_told_in_one_line(
    cache: Path, audio: Path, heard: Path, tmp_path: Path, cli: Cli
) -> None:
    (tmp_path / "empty").mkdir()
    common = ("--concepts", heard, "--backend", "grammar")
    for words, code, said in (
        ((cache, tmp_path / "empty"), EXIT_DATA, "no recordings"),
        ((cache, tmp_path / "nowhere"), EXIT_USAGE, "no such folder or manifest"),
        ((tmp_path / "nothing", audio), EXIT_DATA, "no cache"),
        ((cache, audio, "--plot", tmp_path / "p.pdf"), EXIT_USAGE, "the plot is a PNG"),
        ((cache, audio, "--clips", tmp_path / "c.csv"), EXIT_USAGE, "Parquet"),
        ((cache, audio, "--where", "fold == 9"), EXIT_USAGE, "no column `fold`"),
        ((cache, audio, "--space", "stored:x.parquet"), EXIT_USAGE, "captions are picked"),
        ((cache, audio, "--max-usd", "1"), EXIT_USAGE, "prices"),
    ):
        outcome = cli("grow", *words, *common)
        assert outcome.code == code, (words, outcome.err)
        assert said in outcome.error, outcome.error
    assert cli("grow", cache, audio, *common, "-n", "0").code == EXIT_USAGE
    assert cli("grow", cache, audio, *common, "--rounds", "0").code == EXIT_USAGE


def test_in_a_stored_space_captions_of_the_table_are_picked(tmp_path: Path, cli: Cli) -> None:
    import pyarrow.parquet as pq

    texts = write_vectors(tmp_path / "texts.parquet", ["a dog", "a cow", "rain", "wind"])
    source = write_vectors(tmp_path / "same.parquet", ["a cow", "a cow", "a dog"])
    table = pq.read_table(source).rename_columns(["path", "embedding"])
    table = table.replace_schema_metadata({"lqtse.space": "elsewhere"})
    pq.write_table(table, tmp_path / "clips.parquet")
    cache = tmp_path / "cache"
    cli("import", cache, "--captions", texts, "--embeddings", "--where", "caption == 'a dog'")
    words = ("grow", cache, tmp_path / "clips.parquet", "--space", f"stored:{texts}")
    grown = cli(*words)
    assert grown.code == EXIT_OK, grown.err
    assert "a cow 2" in grown.out and "lqtse-cache index" in grown.out
    assert "no language model is asked" in grown.err
    again = cli(*words, "--json").json
    assert (again["picked"], again["captions"]) == ({}, 2)
    assert again["before"]["coverage"] == 1.0


def test_stored_embeddings_of_another_model(
    cache: Path, heard: Path, tmp_path: Path, cli: Cli
) -> None:
    import pyarrow.parquet as pq

    source = write_vectors(tmp_path / "texts.parquet", ["a.wav", "b.wav"])
    table = pq.read_table(source).rename_columns(["path", "embedding"])
    table = table.replace_schema_metadata({"lqtse.space": "elsewhere"})
    pq.write_table(table, tmp_path / "clips.parquet")
    outcome = cli("grow", cache, tmp_path / "clips.parquet", "--concepts", heard, "--dry-run")
    assert outcome.code == EXIT_MISMATCH
    assert "elsewhere" in outcome.error and "tiny" in outcome.error
