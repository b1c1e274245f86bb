from __future__ import annotations

import csv
import os
from collections import Counter
from pathlib import Path

import pytest

from prompts.rules import REASONS, judge, named_concepts
from prompts.unwrap import clean
from tests.prompts.conftest import RequestMaker

# A CSV of captions that people wrote, with a column `caption` (AudioCaps, Clotho, ...).
HUMAN_CAPTIONS = os.environ.get("LQTSE_HUMAN_CAPTIONS")

GOOD = (
    "a dog barks",
    "Rain falls on a tin roof.",
    "a car passes by",
    "a man turns a water tap on",
    "waves crash while gulls cry overhead",
    "someone speaks as an aircraft engine hums",
    "you can hear a bell ringing far away",
    "there is a loud bang followed by silence",
    "a clock ticks: tick, tick, tick",
    "two dogs bark at 3 o'clock",
    "white noise hisses",
    "a saw cuts through wood",
    "a café full of chattering guests",
    "an engine starts, idles, and is turned off",
    "the low hum of bees in a hive",
    "a choir sings 'amen' softly",
    "a drill drills into a wall",
    "metal clangs against metal",
    "a man speaks as another man speaks",
    "a bell rings again and again, louder and louder",
    "something hits something hard with a thud",
)
BAD = {
    "empty": ("", "...", "123", "—"),
    "too_long": ("a dog barks " * 15, "woof" * 100),
    "markup": (
        "a <b>dog</b> barks",
        "**a dog barks**",
        "# dog barks",
        '{"caption": "a dog barks"}',
        "a dog barks [pause]",
        "see https://example.org for a dog",
        "a dog barks #dog",
        "a dog barks 🐕",
        "a dog &amp; a cat bark",
        "a dog barks\\n",
        "a dog -> bark",
    ),
    "refusal": (
        "I'm sorry, I cannot write that",
        "As an AI language model, I have no ears",
        "Sure! A dog barks",
        "Here are five captions of a dog barking",
        "I can't help with barking dogs",
        "let me know if the dog should bark again",
    ),
    "wrong_language": (
        "el perro ladra",
        "ein Hund bellt im Park",
        "le chien aboie",
        "un chien qui aboie dans la rue",
        "собака лает",
        "狗在叫",
        "il cane abbaia nel parco",
        "de hond blaft naar een kat",
    ),
    "speech_transcript": (
        'a man says "come here, dog"',
        "Man: come here!",
        "hello, is this your dog",
        "I think my dog barks too much",
        "is that a dog barking?",
        "a woman says 'sit down please dog'",
        "thank you, the dog barks",
    ),
    "too_short": ("dog", "a"),
    "truncated": (
        "a dog barks and",
        "a dog barks in the",
        "a dog barks as a",
        "a dog barks...",
        "a dog barks (loudly",
        "a dog barks,",
    ),
    "repetitive": (
        "the dog dog barks",
        "a dog barking dog",
        "the barking of the barking dog",
        "a pen clicking its clicking pen",
        "a dog barks or barks",
        "a dog at the dog barking",
    ),
    "not_audible": (
        "a chainsaw is a tool used for cutting wood",
        "a dog is a loyal animal",
        "a banjo is an instrument that makes music",
        "a picture of a barking dog",
        "a dog sits on a mat",
        "a brown dog barks",
        "a dog is seen barking",
        "a dog looks at a noisy cat",
        "the bark of a dog is a testament to its nature",
        "a woman wearing a coat talks",
        "barking is known to annoy people",
        "people should listen to the dog",
        "the dog was barking and had fun",
        "a type of dog that barks",
    ),
}


@pytest.mark.parametrize("text", GOOD)
def test_a_good_caption_passes(make_request: RequestMaker, text: str) -> None:
    assert judge(text, make_request()) is None


@pytest.mark.parametrize(
    ("reason", "text"), [(reason, text) for reason, texts in BAD.items() for text in texts]
)
def test_a_bad_caption_is_refused_for_its_reason(
    make_request: RequestMaker, reason: str, text: str
) -> None:
    assert judge(clean(text) if reason != "truncated" else text, make_request()) == reason


def test_the_reasons_are_those_that_are_documented() -> None:
    assert set(REASONS) == {*BAD, "copied_example", "concept_missing"}


@pytest.mark.parametrize(
    ("register", "text"),
    [
        ("label", "dog"),
        ("label", "chainsaw"),
        ("tags", "dog, park"),
        ("query", "can you isolate the dog?"),
        ("query", "I want to hear my dog"),
        ("query", "the dog in the back"),
        ("phrase", "the slow tolling of a bell"),
    ],
)
def test_a_register_has_its_own_freedoms(
    make_request: RequestMaker, register: str, text: str
) -> None:
    assert judge(text, make_request(register=register)) is None


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("skateboard, skateboard, ramp", True),
        ("Dog, barking, dog", True),
        ("drum machine, ticking, machine", False),
        ("dog barking, dog howling", False),
    ],
)
def test_a_tag_is_given_once(make_request: RequestMaker, text: str, refused: bool) -> None:
    reason = judge(text, make_request(register="tags"))
    assert reason == ("repetitive" if refused else None)


def test_a_label_is_short(make_request: RequestMaker) -> None:
    text = "a dog that barks at all of the other dogs"
    assert judge(text, make_request(register="label")) == "too_long"
    assert judge(text, make_request(register="sentence")) is None


def test_a_label_may_be_a_definition_of_nothing_but_not_of_something(
    make_request: RequestMaker,
) -> None:
    assert judge("a dog is an animal", make_request(register="label")) == "not_audible"


def test_an_answer_that_ended_inside_a_caption_truncates_it(make_request: RequestMaker) -> None:
    assert judge("a dog barks", make_request(), cut=True) == "truncated"


@pytest.mark.parametrize(
    ("text", "copied"),
    [
        ("a kettle whistles on a stove", True),
        ("A kettle whistles on the stove!", True),
        ("on a stove a kettle whistles", True),
        ("a kettle whistles in a small kitchen", False),
        ("a dog barks on a stove", False),
        ("dog barking", True),
        ("dog barking loudly", False),
    ],
)
def test_a_copy_of_an_example_is_found(make_request: RequestMaker, text: str, copied: bool) -> None:
    examples = ("a kettle whistles on a stove", "dog barking")
    reason = judge(text, make_request(examples=examples))
    assert (reason == "copied_example") == copied


@pytest.mark.parametrize(
    ("text", "missing"),
    [("a puppy yelps", False), ("two dogs bark", False), ("a cat meows", True)],
)
def test_the_main_concept_must_be_named(
    make_request: RequestMaker, text: str, missing: bool
) -> None:
    request = make_request("dog", "rain", aliases=(("puppy",), ()))
    assert (judge(text, request) == "concept_missing") == missing


def test_named_concepts_are_those_of_the_request_in_its_order(make_request: RequestMaker) -> None:
    request = make_request("dog", "rain", "owl", aliases=(("puppy",), (), ()))
    assert named_concepts("an owl hoots and a puppy yelps", request) == ("dog", "owl")


def test_a_concept_in_another_script_or_language_is_no_foreign_word(
    make_request: RequestMaker,
) -> None:
    assert judge("a güiro rasps", make_request("güiro")) is None
    assert judge("a berimbau à corda plays", make_request("berimbau à corda")) is None


@pytest.mark.skipif(not HUMAN_CAPTIONS, reason="LQTSE_HUMAN_CAPTIONS names no CSV of captions")
def test_captions_that_people_wrote_are_hardly_ever_refused(make_request: RequestMaker) -> None:
    with Path(HUMAN_CAPTIONS or "").open(encoding="utf-8", newline="") as file:
        captions = [row["caption"] for row in csv.DictReader(file)]
    reasons = Counter(judge(clean(caption), make_request()) for caption in captions)
    refused = len(captions) - reasons[None]
    assert refused < 0.02 * len(captions), reasons
