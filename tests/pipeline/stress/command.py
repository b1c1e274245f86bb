"""`lqtse-cache` with small shards and, where asked, little patience.

`python -m tests.pipeline.stress.command SHARD_ROWS (patient|impatient) ARGS`: small shards, so that
kills fall between publications too; little patience, so that the small form takes seconds.
"""

from __future__ import annotations

import sys

import pipeline.basket
import pipeline.llm.retry

if __name__ == "__main__":
    pipeline.basket.SHARD_ROWS = int(sys.argv[1])  # before `generate` takes its default from it
    if sys.argv[2] == "impatient":
        pipeline.llm.retry.RetryPolicy.__init__.__defaults__ = (4, 0.02, 0.2, 120.0)  # type: ignore[misc]
    sys.argv[1:3] = []
    from pipeline.cli import main

    main()
