from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cache_store.errors import (
    ChangedPlanError,
    DataError,
    SpaceMismatchError,
    UsageError,
    UsedUpError,
)
from cache_store.writer import open_writer
from pipeline.generate import Limits
from pipeline.grow.record import BEGUN, STEP
from pipeline.llm.prices import Price
from pipeline.llm.scripted import Call, ScriptedBackend
from prompts.bank import ConceptBank
from tests.pipeline.grow.slowly import CAPTIONS, Logged
from tests.pipeline.grow.world import BANK, HEARD, LACKING, captions_of, grow, manifest_of
from tests.pipeline.grow.world import CAPTIONS as HAD

MONEY = 0.012
ROOT = Path(__file__).parents[3]


def steps(cache: Path) -> list[dict[str, Any]]:
    """What the rounds decided and how they ended, without the dates."""
    found = [dict(step) for step in manifest_of(cache).provenance if step["step"] == STEP]
    for step in found:
        del step["date"]
    return found


def test_what_is_missing_is_written_about_and_coverage_rises(cache: Path, audio: Path) -> None:
    report = grow(cache, audio, n=40)
    (first,) = report.rounds
    assert set(first.record.concepts) == set(LACKING)
    assert sum(first.record.clips) == int(report.before.far.sum()) >= 6
    assert report.kept == first.record.kept == 20, "half of the captions"
    assert set(first.written) == set(LACKING) and min(first.written.values()) >= 4
    assert report.after.share > report.before.share + 0.2
    assert report.ended == "no clip is far"
    assert len(captions_of(cache)) == report.captions == HAD + 20


def test_clips_are_far_where_captions_are_missing_and_only_there(cache: Path, audio: Path) -> None:
    import csv

    report = grow(cache, audio, ask=False)
    with (audio / "truth.csv").open() as file:
        truth = {row["path"]: row["label"] for row in csv.DictReader(file)}
    labels = [truth[name] for name in report.prepared.recordings.table.names]
    lacking = [label in LACKING for label in labels]
    far = report.before.far.tolist()
    # Eight recordings of two kinds; tiny names nine in ten of them right (its card).
    assert sum(f and t for f, t in zip(far, lacking, strict=True)) >= 6
    assert sum(f and not t for f, t in zip(far, lacking, strict=True)) <= 1


def test_to_measure_publishes_nothing(cache: Path, audio: Path) -> None:
    before, backend = manifest_of(cache), ScriptedBackend()
    report = grow(cache, audio, backend, ask=False)
    assert report.ended == "nothing was asked" and not report.rounds
    assert report.next is not None
    assert {BANK.concepts[row].name for row in report.next.concepts} == set(LACKING)
    assert manifest_of(cache) == before and not backend.actor.calls


def test_the_same_answers_give_the_same_cache(cache: Path, audio: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(cache, other)
    grow(cache, audio, n=40)
    grow(other, audio, n=40, limits=Limits(concurrency=1))
    assert captions_of(other) == captions_of(cache)
    assert steps(other) == steps(cache)


def test_the_same_command_again_has_nothing_to_do(cache: Path, audio: Path) -> None:
    first = grow(cache, audio, n=40)
    before, backend = manifest_of(cache), ScriptedBackend()
    again = grow(cache, audio, backend, n=40)
    assert not backend.actor.calls
    assert manifest_of(cache) == before
    assert (again.ended, again.kept) == (first.ended, first.kept)
    assert again.before.share == first.before.share, "measured on what it was then"
    assert again.after.share == first.after.share


def answered(cache: Path, look: Path) -> set[str]:
    """Requests whose answers are in the ledger, read from a copy."""
    shutil.copytree(cache, look, ignore=shutil.ignore_patterns(".*"))
    with sqlite3.connect(look / "ledger.sqlite") as connection:
        return {row[0] for row in connection.execute("SELECT request_id FROM answers")}


def test_a_kill_in_mid_round_costs_no_answer_and_changes_nothing(
    cache: Path, audio: Path, tmp_path: Path
) -> None:
    whole, log = tmp_path / "whole", tmp_path / "log.txt"
    shutil.copytree(cache, whole)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.pipeline.grow.slowly", str(cache), str(audio), str(log)],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not (log.exists() and len(log.read_text().split()) > 4):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert [step["state"] for step in steps(cache)] == [BEGUN]
    there = answered(cache, tmp_path / "look")
    assert there, "it died with answers in the ledger"

    resumed = grow(cache, audio, Logged(log, 0.0), n=CAPTIONS)
    asked = Counter(log.read_text().split())
    assert all(asked[one] == 1 for one in there), "no answer was asked for again"
    assert sum(count - 1 for count in asked.values()) <= 4, "at most what was in flight"
    assert resumed.rounds[0].record.captions == CAPTIONS // 2

    plain = grow(whole, audio, n=CAPTIONS)
    assert captions_of(cache) == captions_of(whole)
    assert steps(cache) == steps(whole), "the same rounds, decided once"
    assert resumed.after.share == plain.after.share


def test_a_death_between_asking_and_measuring_is_made_good(
    cache: Path, audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(cache, whole)
    calls = 0

    def dies(*args: object, **options: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:  # the first one looks for captions that are not embedded
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.embed.embed_cache", dies)
        with pytest.raises(KeyboardInterrupt):
            grow(cache, audio, n=40)
    backend = ScriptedBackend()
    grow(cache, audio, backend, n=40)
    assert not backend.actor.calls
    grow(whole, audio, n=40)
    assert captions_of(cache) == captions_of(whole)
    assert steps(cache) == steps(whole)


def test_a_round_that_brings_nothing_near_ends_it(cache: Path, audio: Path) -> None:
    def useless(call: Call) -> str:
        # One useful caption, so that the model is not given up, and then the same one.
        return "good" if call.number == 0 else "duplicates"

    limits = Limits(concurrency=1, requests_per_caption=2.0)
    report = grow(cache, audio, ScriptedBackend(useless), n=600, limits=limits)
    assert report.rounds[-1].record.used_up
    assert report.ended != "no clip is far" or report.after.share > report.before.share
    assert len(report.rounds) <= 3


def test_a_model_that_gives_nothing_is_an_error(cache: Path, audio: Path) -> None:
    with pytest.raises(UsedUpError, match="too few answers"):
        grow(cache, audio, ScriptedBackend(["garbage"]), n=40)
    assert len(captions_of(cache)) == HAD


def test_money_ends_it_and_more_money_goes_on(cache: Path, audio: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(cache, whole)
    price = Price(input=10.0, output=10.0)
    # What an attempt may cost at most is set aside before it is sent: enough for two or three.
    poor = grow(cache, audio, n=40, limits=Limits(1, price=price, max_usd=MONEY))
    assert poor.ended == "the budget is spent"
    assert 0 < poor.kept < 20
    assert poor.rounds[0].spent.usd is not None and 0 < poor.rounds[0].spent.usd <= MONEY
    rich = grow(cache, audio, n=40, limits=Limits(2, price=price, max_usd=9.0))
    assert rich.ended == "no clip is far"
    grow(whole, audio, n=40)
    assert captions_of(cache) == captions_of(whole)


def test_rounds_follow_one_another_until_the_captions_are_written(cache: Path, audio: Path) -> None:
    report = grow(cache, audio, n=4, rounds=2)
    assert [one.record.captions for one in report.rounds][:1] == [2]
    assert len(report.rounds[0].record.concepts) == 1, "two captions are not spread over two"
    assert report.kept <= 4


def test_a_cache_that_lacks_nothing_is_left_alone(cache: Path, audio: Path) -> None:
    grow(cache, audio, n=40)
    before, backend = manifest_of(cache), ScriptedBackend()
    report = grow(cache, audio, backend, n=40, seed=7)  # another growth: the seed is part of it
    assert report.ended == "no clip is far" and not report.rounds
    assert manifest_of(cache) == before and not backend.actor.calls


def test_a_growth_that_goes_on_asks_in_other_words(cache: Path, audio: Path) -> None:
    grow(cache, audio, n=40)
    with open_writer(cache) as writer:  # the user throws away what was written about dogs
        from cache_store.text import caption_id

        gone = [caption_id(text) for text in captions_of(cache)[HAD:]]
        writer.publish(tombstones=gone, step={"step": "remove"})
    backend = ScriptedBackend()
    report = grow(cache, audio, backend, n=40, seed=1)
    assert report.rounds and backend.actor.calls
    texts = captions_of(cache)
    assert len({text.casefold() for text in texts}) == len(texts)


def test_a_cache_that_was_rewritten_is_another_one(cache: Path, audio: Path) -> None:
    grow(cache, audio, n=40)
    with open_writer(cache) as writer:
        writer.publish(data=writer.current.data[::-1], step={"step": "compact"})
    with pytest.raises(ChangedPlanError, match=r"rewritten since.*another --seed"):
        grow(cache, audio, n=40)


def test_concepts_of_ones_own_can_be_grown_into(cache: Path, audio: Path) -> None:
    bank = ConceptBank.from_names([*HEARD, "mooing herd"])
    report = grow(cache, audio, n=20, bank=bank)
    assert report.rounds[0].record.kept == 10


def test_no_cache_no_recordings_no_tower(cache: Path, audio: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no cache"):
        grow(tmp_path / "nothing", audio)
    assert not (tmp_path / "nothing").exists()
    with pytest.raises(UsageError, match="no such folder"):
        grow(cache, tmp_path / "nowhere")


def test_a_space_that_is_only_a_name_cannot_be_grown_in(tmp_path: Path, audio: Path) -> None:
    from pipeline.importing import import_captions
    from tests.pipeline.materials import captions, write_vectors

    source = write_vectors(tmp_path / "texts.parquet", captions(12), space="elsewhere")
    import_captions(tmp_path / "named", source, embeddings=True)
    with pytest.raises(UsageError, match=r"no text tower.*--space"):
        grow(tmp_path / "named", audio)


def test_another_model_than_the_caches_is_refused(tmp_path: Path, audio: Path) -> None:
    from pipeline.grow.prepare import Audio
    from pipeline.grow.rounds import grow_cache
    from pipeline.importing import import_captions
    from tests.pipeline.grow.world import asker
    from tests.pipeline.materials import captions, write_vectors

    source = write_vectors(tmp_path / "texts.parquet", captions(12), space="elsewhere")
    import_captions(tmp_path / "named", source, embeddings=True)
    with pytest.raises(SpaceMismatchError):
        grow_cache(tmp_path / "named", Audio(audio), asker(), space="tiny", device="cpu")
