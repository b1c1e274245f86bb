from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cache_store.cache import open_cache
from cache_store.errors import SpaceMismatchError, UsageError
from cache_store.text import caption_id, normalise_caption
from cache_store.writer import open_writer
from pipeline.report import collect, write_report
from pipeline.report_page import render
from tests.cache_store.builders import DIM, SPACE, add_step, unit_rows

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "</table></body><iframe src='https://example.org'>",
    "&lt;b&gt; & 'quotes' \"doubled\"",
    "a dog \u202etxet dessever",
)


class Reader(HTMLParser):
    """The tags, attributes and text of a page, as a browser would take them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        if tag not in ("meta", "line", "rect", "circle", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data


def write_clips(path: Path, matrix: np.ndarray, space: str = SPACE.name) -> None:
    column = pa.FixedSizeListArray.from_arrays(
        pa.array(matrix.astype(np.float32).reshape(-1)), matrix.shape[1]
    )
    names = [f"{number}.wav" for number in range(len(matrix))]
    table = pa.table({"path": names, "embedding": column})
    pq.write_table(table.replace_schema_metadata({"lqtse.space": space}), path)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    path = tmp_path / "<b>cache"
    add_step(path, 30)
    texts = [normalise_caption(text) for text in HOSTILE]
    count = len(texts)
    table = pa.table(
        {
            "id": [caption_id(text) for text in texts],
            "caption": texts,
            "concepts": [[text] for text in HOSTILE],
            "axes": ['{"register": "<i>label", "<u>axis": "x"}'] * count,
            "model": ["<em>model"] * count,
            "request_id": [""] * count,
        }
    )
    rejects = {"reason": ["<s>why"] * count, "caption": list(HOSTILE), "answer": [""] * count}
    with open_writer(path) as writer:
        captions = writer.write_captions(table)
        refused = writer.write_rejects(pa.table(rejects))
        old = writer.current
        writer.publish(
            captions=(*old.captions, captions),
            rejects=(*old.rejects, refused),
            step={"step": "import", "source": "<a href=x>"},
        )
    return path


def test_the_page_tells_what_is_in_the_cache(cache: Path) -> None:
    page, facts = write_report(cache)
    assert page == cache / "report" / "index.html"
    read = Reader(page.read_text(encoding="utf-8"))
    assert read.open == []
    for said in ("35", "manifest 2", "sound", "kind 1", "phrase", "too short", "test-space"):
        assert said in read.text, said
    assert facts.axes["register"] == {"phrase": 30, "<i>label": 5}
    with open_cache(cache) as store:
        assert store.manifest.number == 2  # a report publishes nothing


def test_hostile_texts_stay_texts_and_nothing_is_loaded(cache: Path) -> None:
    page, _ = write_report(cache)
    text = page.read_text(encoding="utf-8")
    read = Reader(text)
    assert read.tags.isdisjoint({"script", "img", "iframe", "a", "b" * 9, "i", "u", "s", "em"})
    assert not {name for name in read.attributes if name.startswith("on")}
    assert "src" not in read.attributes
    assert "href" not in read.attributes
    assert "default-src 'none'" in text
    assert not re.search(r"url\(|@import", text)
    assert "<script>alert(1)</script>" in read.text
    assert "\u202e" not in text


def test_the_same_cache_gives_the_same_page(cache: Path) -> None:
    with open_cache(cache) as store:
        first, second = collect(store), collect(store)
    assert render(first, "name") == render(second, "name")


def test_gap_and_hubs_are_those_of_numpy(tmp_path: Path) -> None:
    path, clips = tmp_path / "cache", tmp_path / "clips.parquet"
    add_step(path, 40)
    audio = unit_rows(50, DIM, seed=9, dtype="float32")
    write_clips(clips, audio)
    _, facts = write_report(path, queries=clips)
    meeting = facts.meeting
    assert meeting is not None
    with open_cache(path) as store:
        matrix = store.embeddings.astype(np.float64)
        captions = store.captions(range(40))
    cosines = audio.astype(np.float64) @ matrix.T
    nearest = cosines.argmax(axis=1)
    counts = np.bincount(nearest, minlength=40)
    assert meeting.gap == pytest.approx(np.linalg.norm(audio.mean(0) - matrix.mean(0)), abs=1e-5)
    assert meeting.used == (counts > 0).sum()
    assert dict(meeting.hubs)[captions[int(counts.argmax())]] == counts.max()
    assert meeting.nearest["0.5"] == pytest.approx(np.median(cosines.max(axis=1)), abs=1e-3)
    top = np.argsort(-cosines, axis=1)[:, :10]
    times = np.bincount(top.reshape(-1), minlength=40).astype(float)
    centred = times - times.mean()
    skewness = (centred**3).mean() / (centred**2).mean() ** 1.5
    assert meeting.skewness == pytest.approx(skewness, abs=0.05)  # float16 may turn a near tie
    assert sum(count for _, count in meeting.histogram) == 50


def test_queries_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    add_step(path, 10)
    other = tmp_path / "other.parquet"
    write_clips(other, unit_rows(5, dtype="float32"), space="another")
    with pytest.raises(SpaceMismatchError):
        write_report(path, queries=other)
    bare = tmp_path / "bare.csv"
    bare.write_text("path\na.wav\n")
    with pytest.raises(UsageError, match="is a name, not a model"):
        write_report(path, queries=bare)


def test_an_older_manifest_can_be_told_of(cache: Path, tmp_path: Path) -> None:
    page, facts = write_report(cache, manifest=1, output=tmp_path / "then.html")
    assert page == tmp_path / "then.html"
    assert facts.stats["captions"] == 30


def test_a_stored_curve_is_drawn(cache: Path) -> None:
    from dataclasses import replace

    from cache_store.manifest import IndexEntry

    points = [{"nprobe": n, "recall_at_10": r} for n, r in ((1, 0.6), (8, 0.9), (32, 0.97))]
    with open_cache(cache) as store:
        facts = collect(store)
    index = IndexEntry("ivf", (), "", {"curve": points, "nprobe": 8})
    page = render(replace(facts, indexes=(index,)), "name")
    assert "Recall at 10 by nprobe" in page
    assert "<polyline" in page
    for odd in ([], "x", [{"recall_at_10": 1}], [{"a": "b", "recall_at_10": 1}], [3, 4]):
        broken = replace(index, params={"curve": odd})
        assert "<polyline" not in render(replace(facts, indexes=(broken,)), "name")


def test_the_curve_that_an_index_stores_is_drawn(cache: Path) -> None:
    from cache_store.index.build import build_index

    add_step(cache, 400, first=1000)
    with open_writer(cache) as writer:
        audio = unit_rows(20, seed=3, dtype="float32")
        built = build_index(writer, "ivf", queries=audio, target=1.0)
    page, _ = write_report(cache)
    text = page.read_text(encoding="utf-8")
    assert len(built.curve) > 1
    assert "Recall at 10 by nprobe" in text and text.count("<polyline") >= 1
    points = re.search(r'<polyline[^>]* points="([^"]*)"', text)
    assert points is not None and len(points[1].split()) == len(built.curve)
