"""Each recording's nearest captions, computed once and stored beside its audio embedding.

Training clips are finite and an exact search is deterministic, so what training would look up again
and again can be a column. The result is a Parquet manifest of clips that every command takes as
AUDIO: its paths are relative to itself, and its metadata name the space and the very data that the
neighbours come from. Clips that cannot be used are named in a file beside it, with the reason.

Recordings are heard in shards, by workers, each shard a part on the disk as soon as it is done: a
run that was killed goes on from there. Then one pass searches and writes block by block, so memory
holds a block of what was heard, and of all clips their names and columns, some 0.8 kB each. The
file is the same whatever the engine and the number of workers.

Letters: n clips, N captions, D embedding size, K neighbours.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cache_store.errors import UsageError
from pipeline.engines import Engine, available_cores, open_engine
from pipeline.heard_clips import HeardVectors, StoredVectors, distinct, gather
from pipeline.join_parts import find_parts, parts_folder
from pipeline.join_report import JoinReport, Work, report_of
from pipeline.join_stage import HearStage
from pipeline.join_tally import Tally
from pipeline.joined_file import (
    block_table,
    check_output,
    metadata_of,
    rejects_path,
    source_columns,
    write_clips,
)
from pipeline.progress import Progress, quiet
from pipeline.searching import check_k, check_means
from pipeline.spaces import absolute_spec, choose_spec, load_matching

if TYPE_CHECKING:
    import pyarrow as pa

    from cache_store.cache import Cache, Hits
    from cache_store.clips import ClipTable
    from cache_store.spaces import Space

    Vectors = StoredVectors | HeardVectors

BLOCK_CLIPS = 4096  # searched and written at a time: 8 MiB of float32 [512]
MOST_WORKERS = 4  # chosen unasked: each holds a whole model
SECONDS_WORTH_A_WORKER = 10.0  # of work: below, starting a process takes longer than it saves
_PROBE_SECONDS = 10  # of sound, that are timed to know how much work there is


def join_clips(
    cache: str | Path,
    audio: str | Path,
    output: str | Path,
    *,
    k: int = 8,
    centred: bool = False,
    space: str | None = None,
    space_name: str | None = None,
    where: str | None = None,
    label_from_folder: bool = False,
    device: str = "auto",
    batch: int = 16,
    workers: int | None = None,
    threads: int = 1,
    engine: str = "local",
    address: str | None = None,
    progress: Progress = quiet,
) -> JoinReport:
    """Write each usable clip's nearest captions and its audio embedding.

    Args:
        cache: An embedded cache.
        audio: A folder or a manifest; embeddings that it stores are used as they are.
        output: The Parquet file to write; an earlier one of this command is replaced.
        k: Neighbours a clip.
        centred: Take off the means that `lqtse-cache index --centre` stored.
        space: A model of the cache's space, None for the one that it names.
        space_name: Where the manifest's stored embeddings came from, if it does not say.
        where: Take only clips for which this holds.
        label_from_folder: Whether a clip without a label takes its folder's name.
        device: Where to embed and search.
        batch: Windows of audio embedded at a time.
        workers: Processes that hear recordings; None chooses by the work and the machine.
        threads: CPU threads that each computes with. The bits depend on it, not on `workers`.
        engine: `local` or `ray`; the file is the same.
        address: A running Ray cluster, None to start a Ray for this run.
        progress: How to show it.

    Raises:
        UsageError: For a `k` larger than the cache, an output that must not be replaced, or means
            that were not stored.
        StaleIndexError: If the stored means are older than the captions.
        EmptyInputError: If no clip can be used.
        SpaceMismatchError: If audio and captions are not of one space.
        LeaseHeldError: If another process makes the same output.
        StorageError: If the output cannot be written; found out before anything is computed.
    """
    from cache_store.cache import open_cache
    from cache_store.clips import read_clips, usable, write_rejects
    from cache_store.spaces import pick_device

    output = Path(output)
    with ExitStack() as stack:
        store = stack.enter_context(open_cache(cache))
        check_k(store, k)
        if centred:
            check_means(store)
        check_output(output, Path(audio))
        table = read_clips(audio, label_from_folder=label_from_folder, space_name=space_name)
        table = table.where(where or "")
        # Who searches is this process, whatever a cluster's workers have.
        search_on = pick_device("auto" if engine == "ray" else device)
        work = Work()
        vectors: Vectors
        if table.embeddings is not None and table.space is not None:
            store.require_space(table.space, f"the stored embeddings of {audio}")
            # Stored embeddings need no sample, so their recordings' headers are enough.
            table, rejects = usable(table, samples=False)
            assert table.embeddings is not None
            vectors = StoredVectors(table.embeddings)
        else:
            folder = stack.enter_context(parts_folder(output))
            with open_engine(engine, address) as crew:
                place = crew.device(device)
                model = _model(store, space, crew.home(place))
                stage = HearStage(
                    parts=str(folder),
                    audio=str(_base(Path(audio))),
                    spec=absolute_spec(choose_spec(space, store.space)),
                    space=model.record,
                    device=place,
                    batch=batch,
                    threads=threads,
                    decoders=1,
                    host=socket.gethostname(),
                )
                recordings, number = distinct(table)
                work = _hear(crew, model, stage, recordings, workers, progress)
            table, vectors, rejects = gather(table, recordings, number, work.paths)
        tally = Tally(store.embeddings.shape)
        blocks = _Blocks(store, k, search_on, tally, centred)
        write_clips(output, blocks.of(output, table, vectors), blocks.facts)
        rejects_file = rejects_path(output)
        if rejects:
            write_rejects(rejects_file, rejects)
        else:
            rejects_file.unlink(missing_ok=True)  # that of an earlier run would be wrong
        kept = rejects_file if rejects else None
        return report_of(store, tally, blocks.hits, len(rejects), kept, work)


def _base(audio: Path) -> Path:
    """The folder that recordings are named from."""
    return (audio if audio.is_dir() else audio.parent).absolute()


def _model(store: Cache, spec: str | None, device: str) -> Space:
    """The model that hears the clips: of the cache's own space, and with an audio tower."""
    space = load_matching(spec, store.space, device=device)
    if space.sample_rate <= 0:
        raise UsageError(
            f"{space.name} has no audio tower",
            hint="Name a model of the cache's space with --space, "
            "or give a manifest whose column `embedding` holds the audio embeddings",
        )
    return space


def _hear(
    crew: Engine,
    model: Space,
    stage: HearStage,
    recordings: ClipTable,
    workers: int | None,
    progress: Progress,
) -> Work:
    """Hear what no part has been made of yet."""
    from pipeline.embed import cpu_threads

    shards = stage.shards(recordings)
    found = find_parts(Path(stage.parts))
    todo = [shard for shard in shards if shard.key not in found]
    clips = sum(len(shard.paths) for shard in todo)
    with cpu_threads(stage.threads):
        staff = workers or crew.room(stage.device, stage.threads)
        staff = staff or _choose_workers(model, clips, stage.device)
        staff = min(staff, max(len(todo), 1))
        stage = replace(stage, decoders=max(1, available_cores() // staff))
        with progress(clips) as tick:
            results = crew.map_shards(
                stage, todo, workers=staff, tick=tick, prepared=stage.with_model(model)
            )
            for at, path in results:
                found[todo[at].key] = Path(path)
    paths = tuple(found[shard.key] for shard in shards)
    return Work(paths, clips, len(recordings) - clips, staff if todo else 0)


def _choose_workers(model: Space, clips: int, device: str) -> int:
    """One on a GPU; on the CPU as many as there are cores and seconds of work for."""
    import numpy as np

    if device != "cpu" or not clips:
        return 1
    sound = np.sin(np.arange(_PROBE_SECONDS * model.sample_rate, dtype=np.float32))
    model.embed_audio([sound], model.sample_rate)  # the first call sets things up
    begin = time.perf_counter()
    model.embed_audio([sound], model.sample_rate)
    work = (time.perf_counter() - begin) * clips
    return max(1, min(available_cores(), MOST_WORKERS, int(work / SECONDS_WORTH_A_WORKER)))


class _Blocks:
    """Searches and lays out the clips, a block at a time."""

    def __init__(
        self, store: Cache, k: int, device: str, tally: Tally, centred: bool = False
    ) -> None:
        self.hits: Hits  # of the last block
        self._store, self._k, self._device, self._tally = store, k, device, tally
        self._centred = centred

    def of(self, output: Path, table: ClipTable, vectors: Vectors) -> Iterator[pa.Table]:
        """The blocks of the output, in order."""
        columns = source_columns(output, table)
        for begin in range(0, len(table), BLOCK_CLIPS):
            block = vectors.block(begin, min(begin + BLOCK_CLIPS, len(table)))
            self.hits = hits = self._store.search(
                block, self._k, device=self._device, centred=self._centred
            )
            self._tally.add(block, hits)
            yield block_table(columns, begin, block, hits)

    def facts(self) -> dict[str, str]:
        """What the file says of itself, once its first block was searched."""
        return metadata_of(self._store, self.hits, self._k)
