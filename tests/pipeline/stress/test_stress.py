"""The small form of the ordeal; `make stress` runs the full one."""

from __future__ import annotations

from pathlib import Path

from pipeline.llm.scripted import BEHAVIOURS
from tests.pipeline.stress.audit import audit
from tests.pipeline.stress.ordeal import Form, endure
from tests.pipeline.stress.script import Misery

SMALL = Form(
    captions=700,
    requests=230,
    kills=2,
    concurrency=16,
    timeout=3.0,
    shard_rows=150,
    patient=False,
    misery=Misery(hang_for_good=0.0, fail_for_good=0.03, hang_once=0.015, storm_every=80, storm=20),
)


def test_killed_again_and_again_on_a_server_that_misbehaves_it_keeps_every_promise(
    tmp_path: Path,
) -> None:
    ordeal = endure(SMALL, tmp_path)
    facts = audit(ordeal)
    seen = {behaviour for _, behaviour in ordeal.calls}
    assert seen == {*BEHAVIOURS} - {"unauthorized"}
    assert facts["failed with a reason"] > 0
    assert facts["of these failed by the server"] > 20
    assert facts["captions that retry added"] > 0
