from __future__ import annotations

import asyncio

from pipeline.llm.grammar import GrammarBackend
from prompts.schema import Accepted, parse
from tests.pipeline.llm.requests import chat_request, completion_request


def test_it_answers_without_a_model_and_says_so() -> None:
    backend = GrammarBackend()
    for request in (chat_request(), completion_request()):
        answer = asyncio.run(backend.answer(request))
        pieces = parse(answer.text, request, finish_reason=answer.finish_reason)
        assert all(isinstance(piece, Accepted) for piece in pieces)
        assert answer.model == "grammar"
        assert (answer.prompt_tokens, answer.completion_tokens) == (0, 0)
    assert backend.describe() == {"backend": "grammar", "llm": False}
    assert not backend.uses_llm


def test_the_same_request_has_the_same_answer() -> None:
    first, second = (asyncio.run(GrammarBackend().answer(chat_request(3))) for _ in range(2))
    assert first == second
