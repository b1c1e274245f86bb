from __future__ import annotations

import pytest

from pipeline.llm.weights import find_weights
from pipeline.tokens.count import gguf_tokenizer
from pipeline.tokens.estimate import ERROR, estimate
from prompts import grammar
from prompts.plan import Plan
from prompts.templating import TEMPLATES


def test_an_estimate_says_that_it_is_one() -> None:
    assert (estimate().name, estimate().error) == ("an estimate by characters", ERROR)


def test_longer_texts_have_more_tokens_and_messages_have_a_format() -> None:
    counter = estimate()
    assert counter.prompt("") == 0 < counter.prompt("dog") < counter.prompt("dog, barks: a dog")
    message = {"role": "user", "content": "the dog"}
    assert counter.chat([message, message]) == 2 * counter.chat([message]) - 3


@pytest.mark.local_llm
@pytest.mark.parametrize("template", TEMPLATES)
def test_the_error_is_as_it_says_for_a_real_tokenizer(template: str) -> None:
    counter, guess = gguf_tokenizer(find_weights()), estimate()
    assert counter is not None
    requests = [Plan(template=template, seed=3).request(place) for place in range(0, 2000, 20)]
    read = sum(map(counter.read, requests))
    assert sum(map(guess.read, requests)) == pytest.approx(read, rel=ERROR)
    answers = [grammar.answer(request) for request in requests if request.is_chat]
    if answers:
        written = sum(map(counter.text, answers))
        assert sum(map(guess.text, answers)) == pytest.approx(written, rel=ERROR)
