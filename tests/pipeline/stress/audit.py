"""The audit of an ordeal: each promise is checked against what the server and the disk say."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

from cache_store.manifest import Manifest, newest_manifest
from cache_store.shards import read_table
from cache_store.text import normalise_caption
from cache_store.verify import verify_cache
from pipeline.cli.asking import Asking
from pipeline.standing import plan_key, standing_of
from prompts.bank import ConceptBank
from prompts.schema import Accepted, parse
from tests.pipeline.stress.ordeal import MODEL, Ordeal, counted
from tests.pipeline.stress.script import FAILING

# The same settings as `generate` has by default.
PLAN = Asking().plan(ConceptBank.builtin(), MODEL, "chat")
DUPLICATES = ("duplicate", "near_duplicate")
BESIDE = {"README.md", "ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm", ".lease.lock"}


def audit(ordeal: Ordeal) -> dict[str, int]:
    """Check everything.

    Returns:
        What there was to count, for the report.

    Raises:
        AssertionError: If a promise is broken.
    """
    assert ordeal.snapshot is not None
    cache = ordeal.snapshot
    manifest = manifest_of(cache)
    standing = standing_of(manifest, plan_key(PLAN))
    assert (
        standing.kept == ordeal.form.captions == json.loads(ordeal.output)["captions_of_this_plan"]
    )
    ledger = read(cache)
    facts = {"requests of the plan": standing.request + (standing.piece > 0)}
    facts |= check_requests(ledger, standing.request, standing.piece)
    facts |= check_pieces(cache, manifest, ledger, standing.request, standing.piece)
    facts |= check_calls(ordeal, ledger)
    for name in (cache, ordeal.cache):
        check_files(name)
    assert tables(cache, "captions") == tables(ordeal.whole, "captions"), "not as without a kill"
    refused, expected = (_untimed(tables(one, "rejects")) for one in (cache, ordeal.whole))
    assert refused == expected, "not as without a kill"
    return facts | check_retry(ordeal, ledger)


def read(cache: Path) -> dict[str, Any]:
    """Answers, requests given up, and attempts, from the ledger."""
    connection = sqlite3.connect(cache / "ledger.sqlite")
    try:
        rows = connection.execute("SELECT request_id, text, finish_reason FROM answers")
        answers = {row[0]: row[1:] for row in rows}
        given_up = dict(connection.execute("SELECT request_id, reason FROM given_up"))
        attempts = connection.execute("SELECT request_id, outcome FROM attempts").fetchall()
    finally:
        connection.close()
    return {"answers": answers, "given up": given_up, "attempts": attempts}


def check_requests(ledger: dict[str, Any], last: int, piece: int) -> dict[str, int]:
    """Every planned request is answered, or failed with a reason."""
    planned = [PLAN.request(index).id for index in range(last + (piece > 0))]
    answered = [one for one in planned if one in ledger["answers"]]
    failed = [one for one in planned if ledger["given up"].get(one)]
    assert len(answered) + len(failed) == len(planned), "a request is unaccounted for"
    assert not set(answered) & set(failed)
    return {"answered": len(answered), "failed with a reason": len(failed)}


def check_pieces(
    cache: Path, manifest: Manifest, ledger: dict[str, Any], last: int, piece: int
) -> dict[str, int]:
    """Every caption of every answer is kept, or refused with a reason."""
    kept, refused = Counter[tuple[str, str]](), Counter[tuple[str, str, str]]()
    for row in tables(cache, "captions"):
        kept[row["request_id"], row["caption"]] += 1
    for row in tables(cache, "rejects"):
        refused[row["request_id"], row["reason"], row["caption"]] += 1
    for index in range(last + (piece > 0)):
        request = PLAN.request(index)
        if (reason := ledger["given up"].get(request.id)) is not None:
            refused[request.id, f"no_answer: {reason}", ""] -= 1
            continue
        text, finish_reason = ledger["answers"][request.id]
        pieces = parse(text, request, finish_reason=finish_reason)
        for one in pieces[:piece] if index == last else pieces:
            if not isinstance(one, Accepted):
                refused[request.id, one.reason, one.text] -= 1
                continue
            caption = normalise_caption(one.text)
            if kept[request.id, caption] > 0:
                kept[request.id, caption] -= 1
                continue
            reason = max(DUPLICATES, key=lambda name: refused[request.id, name, caption])
            refused[request.id, reason, caption] -= 1
    assert not [one for one, count in kept.items() if count], "a caption out of nowhere, or lost"
    assert not [one for one, count in refused.items() if count], "a refusal out of nowhere, or lost"
    rows = {name: sum(entry.rows for entry in getattr(manifest, name)) for name in KINDS}
    return {"captions kept": rows["captions"], "refused with a reason": rows["rejects"]}


KINDS = ("captions", "rejects")


def check_calls(ordeal: Ordeal, ledger: dict[str, Any]) -> dict[str, int]:
    """Nothing that was answered was asked again; only what was in flight at a kill was re-sent."""
    for answered, heard in ordeal.before:
        again = answered & {one for one, _ in ordeal.calls[heard:]}
        assert not again, f"{len(again)} answers were in the ledger and were requested again"
    called = counted(ordeal.calls)
    attempts = Counter(one for one, _ in ledger["attempts"])
    unmarked = {one for one, times in called.items() if times > attempts[one]}
    assert not unmarked, "a call that no attempt was marked for"
    outcomes = Counter(outcome for _, outcome in ledger["attempts"])
    in_flight = ordeal.form.kills * ordeal.form.concurrency
    # Half as many are marked before there is room to send them.
    assert outcomes["lost"] <= 1.5 * in_flight, "more was lost than was in flight or marked"
    good = [(one, behaviour) for one, behaviour in ordeal.calls if behaviour not in FAILING]
    resent = sum(times - 1 for times in counted(good).values())
    hung = sum(behaviour == "hang" for _, behaviour in ordeal.calls)
    # On a busy machine a good answer may come too late: that attempt failed, and is made again.
    late = max(0, outcomes["timeout"] - hung)
    assert resent <= in_flight + late, "more was sent again than was in flight"
    return {
        "calls of the server": len(ordeal.calls),
        "of these failed by the server": len(ordeal.calls) - len(good),
        "kills": len(ordeal.before),
        "marked or in flight at a kill": outcomes["lost"],
        "sent again although answered": resent,
        "answers that came too late": late,
    }


def _untimed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Refused rows without the word for how a request's last attempt failed: on a busy machine any
    attempt may come too late."""
    return [
        {**row, "reason": "no_answer"} if row["reason"].startswith("no_answer") else row
        for row in rows
    ]


def check_files(cache: Path) -> None:
    """Every file is named by the newest manifest, and every byte is what was written."""
    manifest = manifest_of(cache)
    named = {entry.path for entry in manifest.files()}
    found = {str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file()}
    strangers = {name for name in found - named - BESIDE if not name.startswith("manifest/")}
    assert not strangers, f"no manifest names {sorted(strangers)}"
    report = verify_cache(cache)
    assert report.whole and not report.notes, (report.faults, report.notes)


def check_retry(ordeal: Ordeal, ledger: dict[str, Any]) -> dict[str, int]:
    """`retry` asked the failures, only those, and lost nothing that was published."""
    after, failed = read(ordeal.cache), set(ledger["given up"])
    published = {
        row["request_id"]
        for row in tables(ordeal.snapshot, "rejects")
        if row["reason"].startswith("no_answer")
    }
    called = counted(ordeal.retried)
    assert set(called) == published, "others than the failures were asked"
    answered, heard = ordeal.retried_before
    late = {one for one, _ in ordeal.retried[heard - len(ordeal.calls) :]}
    assert not (answered - set(ledger["answers"])) & late, "an answer was asked for twice"
    assert sum(called.values()) <= len(called) + ordeal.form.concurrency
    assert failed - set(after["given up"]) == published
    for kind in KINDS:
        before = tables(ordeal.snapshot, kind)
        assert tables(ordeal.cache, kind)[: len(before)] == before, "what was published changed"
    kept = len(tables(ordeal.cache, "captions")) - ordeal.form.captions
    return {"asked again by retry": len(called), "captions that retry added": kept}


def manifest_of(cache: Path) -> Manifest:
    """The newest manifest."""
    manifest = newest_manifest(cache)
    assert manifest is not None
    return manifest


def tables(cache: Path | None, kind: str) -> list[dict[str, Any]]:
    """All rows of a kind, in the manifest's order."""
    assert cache is not None
    entries = getattr(manifest_of(cache), kind)
    return [row for entry in entries for row in read_table(cache / entry.path).to_pylist()]
