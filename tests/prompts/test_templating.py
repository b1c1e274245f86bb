from __future__ import annotations

from dataclasses import replace

import pytest

from prompts import templating
from prompts.axes import REGISTERS
from prompts.errors import PromptError
from prompts.examples import Example
from prompts.templating import TEMPLATES, Brief, find_template

EXAMPLE = Example("sentence", ("kettle",), "a kettle whistles on a stove")
SAID = {
    "place": "in a cave",
    "distance": "far away",
    "loudness": "faint",
    "manner": "on and off",
    "material": "on stone",
}


def brief(
    register: str = "sentence",
    concepts: tuple[str, ...] = ("dog",),
    said: dict[str, str] | None = None,
) -> Brief:
    axes = {
        "register": register,
        "sources": str(len(concepts)),
        "relation": "one after the other" if len(concepts) > 1 else "alone",
        "length": "medium",
        **(said or {}),
    }
    return Brief(concepts, axes, 3, (EXAMPLE,))


@pytest.mark.parametrize("register", REGISTERS)
def test_a_chat_says_count_sounds_form_examples_and_format(register: str) -> None:
    messages, prompt = find_template("chat.v1").render(brief(register))
    assert prompt == ""
    assert [message["role"] for message in messages] == ["system", "user"]
    text = messages[1]["content"]
    assert "Write 3 different captions" in text and "of: dog." in text
    assert EXAMPLE.caption in text and '{"captions": [3 strings]}' in text
    assert "{{" not in text and "{%" not in text and "\n\n\n" not in text


def test_registers_ask_for_different_forms() -> None:
    texts = {find_template("chat.v1").render(brief(r))[0][1]["content"] for r in REGISTERS}
    assert len(texts) == len(REGISTERS)


def test_every_axis_that_is_said_is_in_the_prompt_and_no_other() -> None:
    template = find_template("chat.v1")
    said = template.render(brief("sentence", said=SAID))[0][1]["content"]
    unsaid = template.render(brief("sentence"))[0][1]["content"]
    for name, value in SAID.items():
        assert f"{name.capitalize()}: {value}" in said
        assert value not in unsaid


def test_captions_of_the_second_version_are_asked_for_line_by_line() -> None:
    variants = ({"length": "short"}, {"length": "long", "action": "growl", "place": "in a cave"})
    asked = replace(brief("sentence"), count=2, variants=variants)
    text = find_template("chat.v2").render(asked)[0][1]["content"]
    assert "1. 3 to 7 words\n2. 13 to 20 words; action: growl; place: in a cave\n" in text
    assert "no caption begins like another" in text and "{%" not in text and "\n\n\n" not in text
    asked = replace(brief("label"), count=1, variants=({"length": "short"},))
    text = find_template("chat.v2").render(asked)[0][1]["content"]
    assert "1. as you like\n" in text and "no caption begins like another" not in text


def test_the_two_chat_versions_have_the_same_system_prompt() -> None:
    one, other = (find_template(name).render(brief())[0][0] for name in ("chat.v1", "chat.v2"))
    assert one == other


def test_several_sounds_come_with_their_relation() -> None:
    text = find_template("chat.v1").render(brief(concepts=("dog", "rain")))[0][1]["content"]
    assert "dog, rain" in text and "one after the other" in text and "every sound" in text


def test_a_completion_is_a_list_to_be_continued() -> None:
    template = find_template("completion.v1")
    asked = Brief(("dog",), {"register": "sentence"}, 1, (EXAMPLE,), "barks", "a dog")
    assert template.render(asked) == (
        (),
        "kettle, whistles: a kettle whistles on a stove\ndog, barks: a dog",
    )
    assert template.stop == ("\n",)


def test_the_key_of_a_completion_tells_where_and_how() -> None:
    asked = Brief(
        ("dog",), {"register": "sentence"}, 1, (EXAMPLE,), "barks", "a dog", ("barn", "loud")
    )
    assert find_template("completion.v2").render(asked)[1] == (
        "kettle, whistles, stove: a kettle whistles on a stove\ndog, barks, barn, loud: a dog"
    )


def test_a_template_says_its_style() -> None:
    assert {t.style for t in TEMPLATES.values()} == {"chat", "completion"}
    assert all(t.style == name.split(".")[0] for name, t in TEMPLATES.items())


def test_a_completion_without_a_verb_or_beginning_ends_at_the_colon() -> None:
    prompt = find_template("completion.v1").render(brief(concepts=("zorgophone",)))[1]
    assert prompt.endswith("\nzorgophone:")


def test_markup_in_a_concept_stays_as_it_is() -> None:
    text = find_template("chat.v1").render(brief(concepts=("{{ 7 * 7 }} <b>",)))[0][1]["content"]
    assert "{{ 7 * 7 }} <b>" in text


def test_a_hash_follows_the_wording(monkeypatch: pytest.MonkeyPatch) -> None:
    template = find_template("chat.v1")
    before = template.hash
    assert before != find_template("completion.v1").hash and len(before) == 32
    monkeypatch.setattr(templating, "_source", lambda name: name + " in other words")
    assert template.hash != before


def test_an_unknown_template_is_refused_with_those_that_exist() -> None:
    with pytest.raises(PromptError, match=r"one of chat\.v1, .*completion\.v2, got 'chat\.v9'"):
        find_template("chat.v9")


def test_names_carry_their_version() -> None:
    assert all(name == t.name and name.split(".")[-1][0] == "v" for name, t in TEMPLATES.items())
