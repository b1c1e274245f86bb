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
    captions=12_000,
    requests=5_000,
    kills=5,
    concurrency=128,
    timeout=3.0,
    shard_rows=1_500,
    patient=True,
    misery=Misery(hang_for_good=0.0006, fail_for_good=0.006),
    seconds=1_500.0,
)


def main() -> None:
    """Run it and print the table."""
    folder, begin = Path(tempfile.mkdtemp(prefix="lqtse-stress-")), time.monotonic()
    print(f"stress: {FULL.kills} kills, concurrency {FULL.concurrency}, in {folder}", flush=True)
    ordeal = endure(FULL, folder)
    facts = audit(ordeal)
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"  {name:<{width}}  {value:>9,}")
    print(f"every promise held; {time.monotonic() - begin:.0f} s in all")
    shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
