"""The full form: `make stress`. Takes minutes, and prints what was done and counted."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.pipeline.stress.audit import audit
from tests.pipeline.stress.ordeal import Form, endure
from tests.pipeline.stress.script import Misery

FULL = Form(
    captions=13_000,
    requests=5_000,
    kills=5,
    concurrency=64,
    timeout=4.0,
    shard_rows=1_500,
    patient=True,
    misery=Misery(),
    seconds=1_500.0,
)


def main() -> None:
    """Run it and print the table."""
    folder, begin = Path(tempfile.mkdtemp(prefix="lqtse-stress-")), time.monotonic()
    print(f"stress: {FULL.kills} kills, concurrency {FULL.concurrency}, in {folder}", flush=True)
    ordeal = endure(FULL, folder)
    facts: dict[str, object] = dict(audit(ordeal))
    facts["seconds without a kill"] = round(ordeal.seconds[0], 1)
    facts["seconds under fire"] = round(sum(ordeal.seconds[1:]), 1)
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"  {name:<{width}}  {value:>9,}")
    print(f"every promise held; {time.monotonic() - begin:.0f} s in all")
    shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
