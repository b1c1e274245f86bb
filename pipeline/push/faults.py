"""What the hub's library raises, as errors of ours: one line, no address with a signature in it.

The library's own texts name addresses that may carry the right to write, so of them only the
status and the hub's words are shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cache_store.errors import (
    AuthenticationError,
    BadAnswerError,
    DamagedError,
    LqtseError,
    MismatchError,
    RateLimitError,
    RemoteError,
    UnreachableError,
    UsageError,
)

_MESSAGE_LENGTH = 200
_TRANSPORTS = {"httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3", "ssl", "socket"}
TOKEN_HINT = "Log in: hf auth login; or set HF_TOKEN to a token that may write to it"


def local_hint(folder: Path) -> str:
    """What to do while the hub cannot be had."""
    return (
        "Run the same command later: what the hub has is not sent again. Meanwhile the folder is a "
        f"dataset as it is: datasets.load_dataset({str(folder)!r})"
    )


@contextmanager
def hub_errors(repo: str, folder: Path) -> Iterator[None]:
    """Turn what the hub's library raises into errors of ours.

    Raises:
        AuthenticationError: If the token was refused, or may not write there.
        RateLimitError: If the hub asked to slow down.
        UnreachableError: If there was no answer.
        BadAnswerError: If the hub did not take what was sent.
        RemoteError: If it failed itself.
        MismatchError: If somebody else pushed meanwhile.
        UsageError: If the library is set to be offline, or no repository can have that name.
        DamagedError: If a file of the cache went away meanwhile.
    """
    try:
        yield
    except LqtseError:
        raise
    except Exception as error:
        found = _translate(error, repo, folder)
        if found is None:
            raise
        # Without its context, whose text may hold an address with a signature.
        raise found from None


def _translate(error: Exception, repo: str, folder: Path) -> LqtseError | None:
    from huggingface_hub.utils import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    for one in _chain(error):
        if isinstance(one, OfflineModeIsEnabled):
            return UsageError(
                "the hub's library is set to be offline",
                found="HF_HUB_OFFLINE",
                hint=f"Unset it to push to {repo}; --dry-run needs no network",
            )
        if isinstance(one, HFValidationError):
            return UsageError(
                "no repository can have that name", expected="USER/NAME or NAME", found=repr(repo)
            )
        if isinstance(one, HfHubHTTPError):
            return _of_status(one, repo, folder)
        if type(one).__module__.split(".")[0] in _TRANSPORTS:
            what = f"{type(one).__name__}: {_shown(str(one))}"
            return UnreachableError(
                "no answer from the hub", where=repo, found=what, hint=local_hint(folder)
            )
        if isinstance(one, FileNotFoundError) and one.filename:
            return DamagedError("a file went away while it was sent", where=one.filename)
    if isinstance(error, ValueError | RuntimeError | KeyError):
        return BadAnswerError(
            "the hub did not take what was sent",
            where=repo,
            found=_shown(str(error)),
            hint=local_hint(folder),
        )
    return None


def _of_status(error: Exception, repo: str, folder: Path) -> LqtseError:
    status = int(getattr(getattr(error, "response", None), "status_code", 0) or 0)
    words = _shown(str(getattr(error, "server_message", None) or ""))
    found = f"HTTP {status}" + (f", {words}" if words else "")
    later = local_hint(folder)
    if status == 401:
        what = "the hub refused the token"
        return AuthenticationError(what, where=repo, found=found, hint=TOKEN_HINT)
    if status == 403:
        what = "the token may not write to the repository"
        return AuthenticationError(what, where=repo, found=found, hint=TOKEN_HINT)
    if status in (409, 412):
        return MismatchError(
            "somebody else pushed meanwhile",
            where=repo,
            found=found,
            hint="Nothing of theirs was replaced: run the same command again",
        )
    if status == 429:
        what = "the hub asked to slow down"
        return RateLimitError(what, where=repo, found=found, hint=later)
    if status >= 500:
        return RemoteError("the hub failed", where=repo, found=found, hint=later)
    return BadAnswerError("the hub did not take what was sent", where=repo, found=found, hint=later)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what caused it, outermost first."""
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__ or one.__context__


def _shown(message: str) -> str:
    """A message of others, short, without the token and without the queries of addresses."""
    from huggingface_hub import get_token

    token = get_token()
    text = " ".join(message.split())
    if token:
        text = text.replace(token, "***")
    words = (word.partition("?")[0] if "=" in word else word for word in text.split(" "))
    return " ".join(words)[:_MESSAGE_LENGTH]
