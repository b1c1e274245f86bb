"""Push a cache: plan, check, ask what is there, send the rest, publish."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cache_store.cache import open_cache
from pipeline.progress import Progress, quiet
from pipeline.push.hub import MAIN, TIMEOUT, open_repository
from pipeline.push.plan import Item, check_items, check_remote, outdated, plan_push, unsent


@dataclass(frozen=True)
class Pushed:
    """What was pushed, or would be.

    Attributes:
        repo: The repository, with its owner once the hub has told it.
        branch: The branch.
        files: Every file that belongs there.
        sent: Those of them that the hub did not have; all of them in a dry run, which asks nobody.
        removed: Files of earlier pushes that went.
        address: Of the commit; "" if nothing had to change, and in a dry run.
        dry: Whether nothing was sent.
    """

    repo: str
    branch: str
    files: tuple[Item, ...]
    sent: tuple[Item, ...]
    removed: tuple[str, ...]
    address: str
    dry: bool


def push_cache(
    cache: str | Path,
    repo: str,
    *,
    private: bool = False,
    branch: str = MAIN,
    report: bool = False,
    replace: bool = False,
    dry: bool = False,
    timeout: float = TIMEOUT,
    checking: Progress = quiet,
    progress: Progress = quiet,
    note: Callable[[str], None] = lambda _: None,
) -> Pushed:
    """Push a cache to a dataset repository on the Hugging Face hub.

    Args:
        cache: The cache's folder; it is only read.
        repo: USER/NAME, or NAME for the user's own.
        private: Make the repository private; one that is public is refused.
        branch: The branch to push to; made from `main` if it is not there.
        report: Take report/index.html along.
        replace: Allow it to take the place of another cache, or of something else.
        dry: Check everything here, and send nothing: not even a question.
        timeout: How long to wait for the hub's next byte, in seconds.
        checking: How to show bytes as they are checked.
        progress: How to show bytes as they are sent.
        note: Told what the hub warns of.

    Raises:
        DataError: If there is no cache, or a report is wanted that was not made.
        DamagedError: If a file is not what the manifest says; nothing is sent.
        UsageError: If the repository holds something else, or the hub's library is offline.
        MismatchError: If the repository holds another cache, or is public and may not be.
        AuthenticationError: If there is no token, it is refused, or may not write there.
        RemoteError: And its kinds, if the hub fails; what it has is not sent again.
    """
    folder = Path(cache)
    with open_cache(folder) as store:
        manifest = store.manifest
    items = plan_push(folder, manifest, report)
    with checking(sum(item.size for item in items if isinstance(item.source, Path))) as tick:
        check_items(folder, manifest, tick)
    if dry:
        return Pushed(repo, branch, tuple(items), tuple(items), (), "", True)
    with open_repository(
        repo, folder, private=private, branch=branch, timeout=timeout, note=note
    ) as there:
        remote = there.files()
        if not replace:
            check_remote(remote, folder, manifest, there.name, there.manifest)
        sent, removed = unsent(items, remote), outdated(items, remote)
        address = ""
        if sent or removed:
            message = f"Manifest {manifest.number}, by lqtse {manifest.tool_version}"
            with progress(sum(item.size for item in sent)) as tick:
                address = there.send(sent, removed, message, tick)
    return Pushed(there.name, branch, tuple(items), tuple(sent), tuple(removed), address, False)
