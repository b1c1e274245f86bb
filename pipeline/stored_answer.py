"""An answer as the ledger keeps it: its fields, and a digest that tells if one was altered."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pipeline.llm.base import Answer


def stored_answer(request_id: str, digest: object, fields: Sequence[object]) -> Answer | None:
    """The answer in a row of the ledger; None if it is not what was stored.

    Args:
        request_id: Its request.
        digest: As the row has it.
        fields: As `Answer` has them; of any type, since a flipped bit can make a text of bytes.
    """
    text, reason, read, written, model = fields
    if not (isinstance(text, str) and isinstance(reason, str) and isinstance(model, str)):
        return None
    if not (isinstance(read, int) and isinstance(written, int)):
        return None
    answer = Answer(text, reason, read, written, model)
    return answer if digest_of(request_id, answer) == digest else None


def digest_of(request_id: str, answer: Answer) -> str:
    """The digest that an answer is stored with, 32 hex."""
    parts = (
        request_id,
        answer.text,
        answer.finish_reason,
        str(answer.prompt_tokens),
        str(answer.completion_tokens),
        answer.model,
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
