from __future__ import annotations

import csv
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import soundfile

from cache_store.errors import StorageError
from trainer.sounds import PARTS, Sounds, choose, sound_path, write_sounds


class Page(HTMLParser):
    """The sounds that a page plays, and its words."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.words: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "audio":
            self.sources.append(unquote(dict(attrs)["src"] or ""))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def sounds(number: int, query: str = "a dog") -> Sounds:
    waves = np.random.default_rng(number).normal(size=(3, 400)).astype(np.float32)
    row = {"mixture": number, "query": query, "target": "a.wav", "sdri": 1.5, "si_sdri": -2.0}
    return Sounds(number, row, *waves)


def test_the_lowest_scores_are_the_worst_and_ties_keep_their_order() -> None:
    scores = [3.0, -1.0, 2.0, -1.0]
    assert choose(scores, 3, worst=True) == [1, 3, 2]
    assert choose(scores, 3, worst=False) == [0, 1, 2]
    assert choose(scores, 9, worst=True) == [1, 3, 2, 0]


def test_the_index_names_the_files_and_the_page_plays_them(tmp_path: Path) -> None:
    given = [sounds(7), sounds(2, 'ring <b>"loud"</b> & <script>alert(1)</script>')]
    assert write_sounds(tmp_path / "new", given, 8000, "Worst <of> all") == 2
    with (tmp_path / "new" / "index.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["mixture"] for row in rows] == ["7", "2"]
    for one, row in zip(given, rows, strict=True):
        for part in PARTS:
            path = sound_path(tmp_path / "new", one.number, part)
            assert row[f"{part}_file"] == path.name
            samples, rate = soundfile.read(path, dtype="float32")
            assert rate == 8000
            np.testing.assert_array_equal(samples, getattr(one, part))
    page = Page()
    page.feed((tmp_path / "new" / "index.html").read_text(encoding="utf-8"))
    assert page.sources == [row[f"{part}_file"] for row in rows for part in PARTS]
    text = " ".join(page.words)
    assert 'ring <b>"loud"</b> & <script>alert(1)</script>' in text
    assert "SDRi 1.50 dB" in text
    assert not page.tags & {"script", "iframe", "link", "img"}


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        write_sounds(tmp_path / "file", [sounds(0)], 8000, "x")
