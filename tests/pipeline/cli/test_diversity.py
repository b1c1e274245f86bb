from __future__ import annotations

from pathlib import Path

from cache_store.errors import EXIT_OK, EXIT_USAGE
from tests.pipeline.cli.conftest import Cli
from tests.pipeline.materials import captions, write_lines


def test_the_table_sets_the_cache_beside_other_captions(tmp_path: Path, cli: Cli) -> None:
    cache = tmp_path / "mine"
    assert cli("generate", cache, "-n", "30", "--backend", "grammar").code == EXIT_OK
    assert cli("embed", cache, "--space", "tiny").code == EXIT_OK
    others = write_lines(tmp_path / "others.txt", captions(20))
    outcome = cli("diversity", cache, "--against", others)
    assert outcome.code == EXIT_OK
    lines = outcome.out.splitlines()
    cells = {
        row[0]: row[1:]
        for row in ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    }
    assert [cell.strip() for cell in lines[0].strip("|").split("|")] == ["", "mine", "others"]
    assert cells["captions"] == ["30", "20"]
    assert cells["measured on"] == ["20", "20"]
    assert all(float(value) >= 1 for value in cells["Vendi score (tiny)"])
    assert "concepts covered" in outcome.out and "registers" in outcome.out


def test_json_holds_every_measure(captions_cache: Path, cli: Cli) -> None:
    facts = cli("diversity", captions_cache, "--json", "--sample", "5").json
    mine = facts["sets"][0]
    assert (mine["captions"], mine["sampled"], mine["vendi"]) == (12, 5, None)
    assert len(mine["distinct"]) == 3 and facts["coverage"] is None


def test_another_list_of_concepts_is_pointed_out(tmp_path: Path, cli: Cli) -> None:
    cache, names = tmp_path / "c", write_lines(tmp_path / "names.txt", ["dog", "owl"])
    cli("generate", cache, "-n", "12", "--backend", "grammar", "--concepts", names)
    assert "--concepts" in cli("diversity", cache).err
    outcome = cli("diversity", cache, "--concepts", names)
    assert "--concepts" not in outcome.err and "100.0% of 2" in outcome.out


def test_a_missing_file_is_a_mistake_of_one_line(captions_cache: Path, cli: Cli) -> None:
    outcome = cli("diversity", captions_cache, "--against", "missing.csv")
    assert outcome.code == EXIT_USAGE
    assert "missing.csv" in outcome.error and "Traceback" not in outcome.err
