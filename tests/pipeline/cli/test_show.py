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


ATTACK = "a dog \x1b]0;owned\x07barks\x1b[2J"


def generated(folder: Path, cli: Cli) -> Path:
    """A cache of captions by the fake model, some of whose answers are useless."""
    words = ("--backend", "scripted", "--script", "good,refusal,garbage")
    assert cli("generate", folder, "-n", 20, *words).code == EXIT_OK
    return folder


def test_raw_answers_come_from_the_ledger_with_controls_spelled_out(
    tmp_path: Path, cli: Cli
) -> None:
    cache = generated(tmp_path / "c", cli)
    outcome = cli("show", cache, "--rejects", "--raw", "--rows", 50)
    assert "| I'm sorry, but I can't help with that request." in outcome.out
    assert r"| <<< %PDF-1.4 \x07 0xDEADBEEF ]]}" in outcome.out
    assert "\x07" not in outcome.out
    rows = cli("show", cache, "--rejects", "--raw", "--rows", 50, "--json").json["rows"]
    assert any("\x07" in row["answer"]["text"] for row in rows)


def test_without_the_ledger_it_says_so(tmp_path: Path, cli: Cli) -> None:
    cache = generated(tmp_path / "c", cli)
    (cache / "ledger.sqlite").unlink()
    assert "the ledger has no answer to it" in cli("show", cache, "--rejects", "--raw").out


def test_one_reason_or_one_concept(tmp_path: Path, cli: Cli) -> None:
    cache = generated(tmp_path / "c", cli)
    rows = cli("show", cache, "--rejects", "--reason", "refusal", "--json").json["rows"]
    assert rows and {row["reason"] for row in rows} == {"refusal"}
    concept = rows[0]["concepts"][0]
    rows = cli("show", cache, "--rejects", "--concept", concept, "--json").json["rows"]
    assert rows and all(concept in row["concepts"] for row in rows)
    wrong = cli("show", cache, "--rejects", "--reason", "ugly")
    assert wrong.code == EXIT_DATA and "refusal" in wrong.error
    assert cli("show", cache, "--raw").code == EXIT_USAGE


def test_no_caption_drives_the_terminal(tmp_path: Path, cli: Cli) -> None:
    import pyarrow as pa

    from cache_store.text import caption_id
    from cache_store.writer import open_writer

    with open_writer(tmp_path / "c") as writer:
        # A caption that is kept is in normal form, which has no controls; all else may hold them.
        names = {"id": [caption_id("a dog")], "caption": ["a dog"], "concepts": [[ATTACK]]}
        table = pa.table(names)
        rejects = pa.table({"reason": ["markup"], "caption": [ATTACK], "concepts": [[ATTACK]]})
        writer.publish(
            captions=[writer.write_captions(table)], rejects=[writer.write_rejects(rejects)]
        )
    for words in (("show",), ("show", "--rejects"), ("stats",)):
        outcome = cli(words[0], tmp_path / "c", *words[1:])
        assert outcome.code == EXIT_OK, outcome.err
        assert "\x1b" not in outcome.out + outcome.err
        assert "\x07" not in outcome.out + outcome.err
    assert r"\x1b[2J" in cli("show", tmp_path / "c").out
