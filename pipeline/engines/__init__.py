"""Where the stages run: `map_shards(stage, shards)` on this machine.

The shard is the unit of work. Its result depends on nothing but the shard and the stage, so the
number of workers may change between runs.
"""

from __future__ import annotations

from pipeline.engines.local import Stage, available_cores, map_shards

__all__ = ["Stage", "available_cores", "map_shards"]
