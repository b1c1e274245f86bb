"""A repository on the hub: a thin shell around `huggingface_hub`, which holds the token.

Where the hub is (`HF_ENDPOINT`), who asks (`HF_TOKEN`, or a login), and how files travel (LFS, or
Xet where `hf_xet` is installed) are that library's matters. Nothing here reads the token, but to
know that there is one.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cache_store.errors import AuthenticationError, MismatchError
from cache_store.manifest import Manifest, manifest_path, read_manifest
from pipeline.push.faults import TOKEN_HINT, hub_errors
from pipeline.push.plan import Item, RemoteFile

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from pipeline.progress import Tick

MAIN = "main"
TIMEOUT = 300.0  # seconds without a byte; the library itself would wait for ever
_KIND = "dataset"
_GROUP = 16  # files between two steps of the progress, and between two questions to the hub


class Repository:
    """A dataset repository at one branch; made by `open_repository`.

    Attributes:
        name: With its owner.
        branch: The branch that is pushed to.
        head: Its newest commit before the push, "" if it has none.
    """

    def __init__(self, api: HfApi, name: str, branch: str, head: str) -> None:
        self.name = name
        self.branch = branch
        self.head = head
        self._api = api

    def files(self) -> dict[str, RemoteFile]:
        """What the branch holds, by path."""
        tree = self._api.list_repo_tree(
            self.name, recursive=True, revision=self.branch, repo_type=_KIND
        )
        return {
            one.path: RemoteFile(one.size, one.blob_id, one.lfs.sha256 if one.lfs else None)
            for one in tree
            if hasattr(one, "blob_id")  # a folder has none
        }

    def manifest(self, number: int) -> Manifest:
        """Read the manifest of this number that the branch holds.

        Raises:
            DamagedError: If it is damaged.
            VersionMismatchError: If another version of the format wrote it.
        """
        with tempfile.TemporaryDirectory() as folder:
            self._api.hf_hub_download(
                self.name,
                manifest_path(Path(), number).as_posix(),
                repo_type=_KIND,
                revision=self.branch,
                local_dir=folder,
            )
            return read_manifest(Path(folder), number)

    def send(self, items: Sequence[Item], removed: Sequence[str], message: str, tick: Tick) -> str:
        """Send files, then make them visible and the removed ones gone, in one commit.

        Args:
            items: What to add or replace.
            removed: Paths that go.
            message: The commit's message.
            tick: Told of bytes as they are there.

        Returns:
            The address of the commit.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        additions = [CommitOperationAdd(one.path, _source(one)) for one in items]
        for start in range(0, len(items), _GROUP):
            # Large files are there afterwards, though nobody sees them before the commit: a push
            # that is cut off here goes on from here.
            self._api.preupload_lfs_files(
                self.name,
                additions=additions[start : start + _GROUP],
                repo_type=_KIND,
                revision=self.branch,
                free_memory=False,
            )
            tick(sum(one.size for one in items[start : start + _GROUP]))
        deletions = [CommitOperationDelete(path, is_folder=False) for path in removed]
        done = self._api.create_commit(
            self.name,
            operations=[*additions, *deletions],
            commit_message=message,
            repo_type=_KIND,
            revision=self.branch,
            parent_commit=self.head or None,
        )
        return str(done.commit_url)


@contextmanager
def open_repository(
    name: str,
    folder: Path,
    *,
    private: bool = False,
    branch: str = MAIN,
    timeout: float = TIMEOUT,
    note: Callable[[str], None] = lambda _: None,
) -> Iterator[Repository]:
    """Open a dataset repository on the hub; made, with its branch, if it is not there.

    Args:
        name: USER/NAME, or NAME for the user's own.
        folder: The cache, for what to do when the hub cannot be had.
        private: Make it private; one that is there and public is refused.
        branch: The branch to push to.
        timeout: How long to wait for the next byte, in seconds.
        note: Told what the hub warns of.

    Raises:
        AuthenticationError: If there is no token, it is refused, or may not write there.
        MismatchError: If it is to be private and is public.
        RemoteError: And its kinds, if the hub fails; see `hub_errors`.
    """
    from huggingface_hub import HfApi, get_token

    with hub_errors(name, folder):
        if get_token() is None:
            raise AuthenticationError("no token for the hub", where=name, hint=TOKEN_HINT)
        with _manners(timeout, note):
            api = HfApi(endpoint=os.environ.get("HF_ENDPOINT", "").rstrip("/") or None)
            made = api.create_repo(name, repo_type=_KIND, private=private or None, exist_ok=True)
            full = str(made.repo_id)
            if private and not api.dataset_info(full).private:
                raise MismatchError(
                    "the repository is public",
                    where=full,
                    expected="private, as --private asks",
                    hint="Make it private on the hub first, or name another",
                )
            if branch != MAIN:
                api.create_branch(full, branch=branch, repo_type=_KIND, exist_ok=True)
            head = api.dataset_info(full, revision=branch).sha
            yield Repository(api, full, branch, head or "")


@contextmanager
def _manners(timeout: float, note: Callable[[str], None]) -> Iterator[None]:
    """Progress and warnings our way, and an end to waiting, for as long as this lasts."""
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
        get_session,
        logging,
    )

    shown, level = not are_progress_bars_disabled(), logging.get_verbosity()
    session: Any = get_session()
    waited = getattr(session, "timeout", None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        disable_progress_bars()
        # Its warnings of retries name addresses that carry the right to write.
        logging.set_verbosity_error()
        session.timeout = timeout
        try:
            yield
        finally:
            session.timeout = waited
            logging.set_verbosity(level)
            if shown:
                enable_progress_bars()
    told = (one.message for one in caught if not issubclass(one.category, DeprecationWarning))
    for text in dict.fromkeys(map(str, told)):
        note(" ".join(text.split()))


def _source(item: Item) -> Any:
    return item.source if isinstance(item.source, bytes) else str(item.source)
