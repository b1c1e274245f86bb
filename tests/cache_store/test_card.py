from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from cache_store.card import PLACE, render_card
from cache_store.index.build import build_index
from cache_store.manifest import FileEntry, Manifest
from cache_store.text import caption_id
from cache_store.writer import open_writer
from tests.cache_store.builders import add_step, caption_table, captions, reject_table


def test_the_card_tells_what_the_manifest_holds(tmp_path: Path) -> None:
    add_step(tmp_path, 1200)
    card = (tmp_path / "README.md").read_text()
    for text in (
        "| captions | 1,200 |",
        "| embedded | 1,200 |",
        "test-space",
        "float16[16], unit norm",
        "| test | rows 1200 |",
        "open_cache",
        "- 1K<n<10K",
    ):
        assert text in card
    assert "removed rows" not in card


def test_the_card_warns_of_removed_rows() -> None:
    entry = FileEntry("data/a.parquet", "0" * 64, 10, 5)
    card = render_card(Manifest(data=(entry,), tombstones=("a", "b")))
    assert "2 removed rows still lie in the files" in card


def test_the_card_is_a_pure_function() -> None:
    manifest = Manifest(number=3, provenance=({"step": "x", "model": "é", "n": [1, 2]},))
    assert render_card(manifest) == render_card(manifest)
    assert "model é, n [1, 2]" in render_card(manifest)
    assert "configs" not in render_card(manifest)


GENERATED: dict[str, Any] = {
    "step": "generate",
    "date": "2026-11-24T05:45:06+00:00",
    "backend": "openai",
    "base_url": "http://127.0.0.1:8000/v1",
    "llm": True,
    "model": "some|model\x1b[2J<b>",
    "seed": 7,
    "plan": "f86c",
    "concepts_from": "mine.txt",
    "config": {
        "template": "chat.v2",
        "template_hash": "92bd19b5eee2aaaa",
        "axes": "b814effcfc7f0000",
        "bank": {"concepts": 1057, "hash": "dcf791a131aa7ae8"},
    },
    "captions": 90,
    "rejected": {"not_audible": 8, "too_long": 2},
    "requests": 25,
    "replayed": 3,
    "prompt_tokens": 7000,
    "completion_tokens": 1800,
    "usd": 0.25,
}
EMBEDDED = {
    "step": "embed",
    "date": "2026-11-24T06:00:00+00:00",
    "captions": 90,
    "space": "tiny",
    "dtype": "float16",
    "device": "cpu",
    "cut": 0,
}


def test_the_card_says_who_wrote_what_was_refused_and_what_was_done() -> None:
    card = render_card(Manifest(provenance=(GENERATED, EMBEDDED)))
    for text in (
        "chat.v2 `92bd19b5eee2`",
        "1,057 mine.txt `dcf791a131aa`",
        "`b814effcfc7f`",
        "| 90 | 25 | 7,000 | 1,800 | 0.2500 | 2026-11-24 |",
        "10 of 100 captions",
        "| not audible | 8 | 8.0% |",
        "| 2026-11-24 06:00 | embed | 90 captions by tiny, float16, on cpu |",
        "25 requests answered, 3 from the ledger",
        "language:\n- en\n",
    ):
        assert text in card, text


def test_the_card_says_in_which_precision_embeddings_were_computed() -> None:
    step = {**EMBEDDED, "precisions": {"float32": 30, "bfloat16": 60}}
    card = render_card(Manifest(provenance=(step,)))
    assert "by tiny, float16, on cpu, computed in bfloat16 and float32" in card


def test_no_value_leaves_its_cell(tmp_path: Path) -> None:
    card = render_card(Manifest(provenance=(GENERATED,)))
    assert "\x1b" not in card and "<b>" not in card
    assert "some\\|model" in card


def test_two_runs_of_one_plan_are_one_row() -> None:
    later = {**GENERATED, "date": "2026-11-25T00:00:00+00:00", "captions": 10}
    card = render_card(Manifest(provenance=(GENERATED, later)))
    assert "| 100 | 50 | 14,000 | 3,600 | 0.5000 | 2026-11-24 to 2026-11-25 |" in card


def test_a_licence_is_named_only_if_the_user_gave_one() -> None:
    silent = render_card(Manifest(provenance=(GENERATED,)))
    assert "\nlicense:" not in silent
    assert "No licence was given for the captions" in silent
    assert "apply to what it wrote; they are not stated here" in silent
    given = {"step": "card", "license": "cc0-1.0", "model_license": "Apache-2.0"}
    told = render_card(Manifest(provenance=(GENERATED, given)))
    assert "\nlicense: cc0-1.0\n" in told
    assert "The generating model: Apache-2.0." in told


def test_captions_of_others_may_be_in_any_language() -> None:
    imported = {"step": "import", "source": "a.csv", "sha256": "ab", "read": 5, "added": 4}
    card = render_card(Manifest(provenance=(imported,)))
    assert "language:" not in card
    assert "4 captions of 5 from a.csv" in card
    assert "`a.csv` stay under their own licence" in card


def embedded(path: Path) -> None:
    add_step(path, 12)


def shrunk(path: Path) -> None:
    """Two manifests' files, an index, and all but five captions removed."""
    add_step(path, 6)
    add_step(path, 6, first=6)
    with open_writer(path) as writer:
        build_index(writer, "exact")
        gone = tuple(caption_id(text) for text in captions(7))
        writer.publish(tombstones=gone)


def emptied(path: Path) -> None:
    add_step(path, 2)
    with open_writer(path) as writer:
        writer.publish(tombstones=tuple(caption_id(text) for text in captions(2)))


def bare(path: Path) -> None:
    with open_writer(path) as writer:
        writer.publish(captions=[writer.write_captions(caption_table(3))])


def refused(path: Path) -> None:
    with open_writer(path) as writer:
        writer.publish(rejects=[writer.write_rejects(reject_table(2))])


def snippets(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


# datasets leaves its streaming files to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize(
    ("make", "blocks", "last"),
    [
        (embedded, 2, "sound number"),
        (shrunk, 2, "sound number"),
        (emptied, 1, "too_short"),
        (bare, 1, "sound number"),
        (refused, 1, "too_short"),
    ],
)
def test_the_python_in_the_card_runs(
    make: Callable[[Path], None],
    blocks: int,
    last: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    make(tmp_path / "cache")
    found = snippets((tmp_path / "cache" / "README.md").read_text())
    assert len(found) == blocks
    names: dict[str, Any] = {}
    for code in found:
        assert PLACE in code
        exec(code.replace(PLACE, str(tmp_path / "cache")), names)
    said = capsys.readouterr().out.splitlines()
    assert last in said[-1]
    if blocks == 2:
        assert "torch.Size([16])" in said
        kept = 5 if make is shrunk else 12
        assert len(names["dataset"]) == kept
        assert names["condition"].shape == (2, min(8, kept), 16)


def test_a_cache_without_files_shows_no_python() -> None:
    assert snippets(render_card(Manifest(provenance=({"step": "x"},)))) == []
