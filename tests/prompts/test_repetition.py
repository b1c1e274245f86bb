from __future__ import annotations

import pytest

from prompts.repetition import is_repetitive


@pytest.mark.parametrize(
    "text",
    [
        "a market at the market",
        "a market at market",
        "wind from the wind",
        "the barking of the barking dog",
        "cow cow",
        "rain on the tent, a tent at a tent",
    ],
)
def test_what_is_said_twice_in_a_breath(text: str) -> None:
    assert is_repetitive(text)


@pytest.mark.parametrize(
    "text",
    [
        "metal on metal",
        "a saw sawing with a saw",
        "an engine revs over and over",
        "cars race by at a race",  # a person wrote it
        "water flowing from water tap",  # and this
        "several bird noises from several directions",
        "tick, tick, tick",
        "a dog barks at another dog",
        "a drill drills",
        "",
    ],
)
def test_what_people_say(text: str) -> None:
    assert not is_repetitive(text)


def test_a_tag_comes_once() -> None:
    assert is_repetitive("rain, wind, rain", tags=True)
    assert not is_repetitive("rain, wind, rain")
    assert not is_repetitive("rain, wind, rain drops", tags=True)
