"""What follows from a batch that ended: what is asked again, given up, or told to the user. Pure.

A request whose turn did not come is asked again as if nothing had happened. One that failed is
asked again a few times, then given up, as long as others of the run got answers: when none did, it
is the server that fails, and the run ends with its words. A batch refused as a whole has cost
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from cache_store.errors import AuthenticationError, BadAnswerError, RateLimitError, RemoteError
from pipeline.llm.batch.collect import Tally
from pipeline.llm.batch.lines import Failure
from pipeline.llm.batch.rounds import Member
from pipeline.llm.openai_server import KEY_VARIABLE

if TYPE_CHECKING:
    from openai.types import Batch

TOKEN_LIMIT = "token_limit_exceeded"
ATTEMPTS = 3  # at a request, before it is given up

_HINTS = {
    "model_not_found": "Check --model, and that it can be used in batches",
    "model_not_available": "Check --model, and that it can be used in batches",
    "billing_hard_limit_reached": "Raise the account's limit, then run the same command again",
}


@dataclass
class Verdict:
    """What to do about the requests of a batch.

    Attributes:
        again: To be asked again.
        given_up: To be given up: request id, and why.
        error: What ends the run, None if nothing does.
        too_many: Whether the server had no room for so many requests.
        adapted: Whether it turned out that the server wants to be asked in another way.
    """

    again: list[Member] = field(default_factory=list)
    given_up: list[tuple[str, str]] = field(default_factory=list)
    error: RemoteError | None = None
    too_many: bool = False
    adapted: bool = False


def judge(
    batch: Batch,
    members: Sequence[Member],
    tally: Tally,
    *,
    served: bool,
    barren: int,
    address: str,
    adapt: Callable[[Failure], bool],
    shown: Callable[[str], str],
) -> Verdict:
    """Decide about every request of a batch without an answer.

    Args:
        batch: The batch at the server.
        members: Its requests.
        tally: What it brought.
        served: Whether this run got any answer, of this batch or another.
        barren: Batches in a row without any answer, that this run saw; this one may be among them.
        address: The server's address.
        adapt: Learns from a refusal; True if requests are now made in another way.
        shown: Makes the server's words fit to be shown.
    """
    unanswered = [one for one in members if one.request_id in tally.failures]
    if batch.status == "failed":
        return _refused_whole(batch, unanswered, address, shown)
    verdict = Verdict()
    # What the ledger has of it is not in the tally where the run that stored it died.
    answered = len(unanswered) < len(members)
    served = served or answered
    refused = [one for one in unanswered if tally.failures[one.request_id].kind == "refused"]
    if refused and not served:
        verdict.adapted = _adapted([tally.failures[one.request_id] for one in refused], adapt)
    for member in unanswered:
        failure = tally.failures[member.request_id]
        if failure.kind == "unserved" or (failure.kind == "refused" and verdict.adapted):
            verdict.again.append(member)
        elif failure.kind in ("key", "quota") or (failure.kind == "refused" and not served):
            verdict.error = verdict.error or _fatal(failure, address, shown)
        elif member.attempt < ATTEMPTS:
            verdict.again.append(replace(member, attempt=member.attempt + 1))
        elif served:
            verdict.given_up.append((member.request_id, failure.reason))
        elif barren < ATTEMPTS:  # it failed in runs that are gone: once more, beside others
            verdict.again.append(member)
        else:
            verdict.error = verdict.error or _fatal(failure, address, shown)
    if verdict.error is None:
        verdict.error = _ended_early(batch, answered, len(unanswered), address)
    return verdict


def _adapted(failures: Sequence[Failure], adapt: Callable[[Failure], bool]) -> bool:
    # Each fault once: a second time, it would be taken for a refusal of the new way.
    distinct = {(one.fault.param or one.fault.message): one for one in failures}
    learnt = [adapt(one) for one in distinct.values()]
    return any(learnt)


def _refused_whole(
    batch: Batch, members: Sequence[Member], address: str, shown: Callable[[str], str]
) -> Verdict:
    errors = (batch.errors.data if batch.errors else None) or []
    codes = [str(error.code or "") for error in errors]
    if TOKEN_LIMIT in codes:
        return Verdict(again=list(members), too_many=True)
    said = [f"{error.code}: {error.message}" for error in errors[:1]]
    hint = next((_HINTS[code] for code in codes if code in _HINTS), None)
    error = BadAnswerError(
        "the server refuses the batch",
        where=address,
        found=shown(said[0]) if said else "no reason",
        hint=hint or "Nothing was charged; set it right, then run the same command again",
    )
    return Verdict(error=error)


def _fatal(failure: Failure, address: str, shown: Callable[[str], str]) -> RemoteError:
    if failure.kind == "key":
        return AuthenticationError(
            "the key was refused for the requests of a batch",
            where=address,
            hint=f"Check {KEY_VARIABLE}, and that it may use the model",
        )
    found = shown(failure.fault.message)
    if failure.kind == "quota":
        return RateLimitError(
            "the account is empty",
            where=address,
            found=found,
            hint="Run the same command when it is filled: what was answered is kept",
        )
    if failure.kind == "refused":
        return BadAnswerError("the server refuses the requests", where=address, found=found)
    return RemoteError(
        f"no request was answered, in {ATTEMPTS} batches in a row",
        where=address,
        found=f"{failure.reason}: {found}",
        hint="Run the same command later: what was answered is kept",
    )


def _ended_early(batch: Batch, answered: bool, left: int, address: str) -> RemoteError | None:
    if batch.status == "cancelled":
        return RemoteError(
            f"batch {batch.id} was cancelled, {left:,} requests without an answer",
            where=address,
            hint="Run the same command to submit them again: what was answered is kept",
        )
    if batch.status == "expired" and not answered:
        return RemoteError(
            f"batch {batch.id} ran out of time before any request was answered",
            where=address,
            hint="Run the same command again, perhaps with a smaller --batch-requests",
        )
    return None


def gone(address: str, batch_id: str | None, what: str) -> RemoteError:
    """What to say when the server has lost a batch or its answers."""
    return RemoteError(
        f"the server does not have {what} of batch {batch_id}",
        where=address,
        hint="Use the key and the server that it was submitted with; if it is lost, "
        "`lqtse-cache batches CACHE --forget`, and its requests will be paid again",
    )
