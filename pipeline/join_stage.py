"""The work on one shard of recordings: paths in, a committed part of embeddings out.

A part is known by its key: a hash of the model, the settings that its bits depend on, and each
recording's name, size and time of change. So a rerun takes over what an earlier one has heard, and
hears anew what has changed meanwhile.

Letters: n recordings, m usable ones, D embedding size.
"""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cache_store.errors import UsageError
from pipeline.progress import Tick

if TYPE_CHECKING:
    from cache_store.clips import ClipTable
    from cache_store.manifest import SpaceRecord
    from cache_store.spaces import Space

SHARD_CLIPS = 64  # a killed run loses what its workers were at: a minute or so of each


@dataclass(frozen=True)
class ClipShard:
    """Some recordings that are heard together.

    Attributes:
        key: What the part made of them is known by.
        paths: Where they lie, absolute.
        there: Whether the planning process found each of them.
    """

    key: str
    paths: tuple[str, ...]
    there: tuple[bool, ...]


@dataclass(frozen=True)
class HearStage:
    """How recordings become a part.

    Attributes:
        parts: The folder of parts, an absolute path.
        audio: The folder that the recordings are named from, an absolute path.
        spec: The space to load, its paths absolute.
        space: What the space has to be.
        device: Where to compute.
        batch: Windows of audio embedded at a time.
        threads: CPU threads of the process that compute.
        decoders: Threads that decode beside them.
        host: The machine that plans.
    """

    parts: str
    audio: str
    spec: str
    space: SpaceRecord
    device: str
    batch: int
    threads: int
    decoders: int
    host: str

    @property
    def folders(self) -> tuple[str, ...]:
        """The parts and the recordings."""
        return self.parts, self.audio

    def prepare(self) -> Callable[[ClipShard, Tick], str]:
        """Load the space, once a process.

        Raises:
            SpaceMismatchError: What this machine has under the spec is another space.
        """
        import torch

        from pipeline.spaces import load_matching

        torch.set_num_threads(self.threads)
        return self.with_model(load_matching(self.spec, self.space, device=self.device))

    def with_model(self, model: Space) -> Callable[[ClipShard, Tick], str]:
        """The work, where the model is loaded already; returns the part's path."""
        return lambda shard, tick: self._work(model, shard, tick)

    def _work(self, model: Space, shard: ClipShard, tick: Tick) -> str:
        from cache_store.clips import hear
        from pipeline.join_parts import commit_part

        if socket.gethostname() != self.host:
            _look_for(shard)
        heard = hear(shard.paths, model, batch=self.batch, decoders=self.decoders, tick=tick)
        return str(commit_part(Path(self.parts), shard.key, heard))

    def shards(self, clips: ClipTable) -> list[ClipShard]:
        """Cut recordings, each once, into shards.

        Args:
            clips: The recordings, in order.
        """
        base = [self.space.fingerprint, self.batch, self.threads, self.device.partition(":")[0]]
        cut = []
        for begin in range(0, len(clips), SHARD_CLIPS):
            paths = [path.absolute() for path in clips.paths[begin : begin + SHARD_CLIPS]]
            states = [_state(path) for path in paths]
            names = clips.names[begin : begin + SHARD_CLIPS]
            spelled = json.dumps([*base, list(zip(names, states, strict=True))])
            cut.append(
                ClipShard(
                    hashlib.sha256(spelled.encode()).hexdigest(),
                    tuple(map(str, paths)),
                    tuple(state is not None for state in states),
                )
            )
        return cut


def _state(path: Path) -> tuple[int, int] | None:
    """What changes when a recording does; None if it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _look_for(shard: ClipShard) -> None:
    """A recording that another machine does not see is no bad recording.

    Raises:
        UsageError: Naming the first.
    """
    for path, there in zip(shard.paths, shard.there, strict=True):
        if there and not Path(path).exists():
            raise UsageError(
                "a worker does not see a recording",
                where=path,
                found=f"not there on {socket.gethostname()}",
                hint="The machines of a cluster need a file system that they share, "
                "mounted at the same path",
            )
