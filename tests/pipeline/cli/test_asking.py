from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from cache_store.errors import UsageError
from pipeline.cli.answering import BackendName, Style
from pipeline.cli.asking import Asking


def test_defaults_are_not_typed() -> None:
    assert Asking().words() == []


def test_what_differs_from_the_defaults_is_typed_as_the_command_line_takes_it() -> None:
    asking = Asking(
        concepts=Path("my sounds.txt"),
        seed=3,
        backend=BackendName.openai_batch,
        style=Style.completion,
        per_request=7,
    )
    assert asking.words() == [
        "--backend",
        "openai-batch",
        "--style",
        "completion",
        "--concepts",
        "my sounds.txt",
        "--seed",
        "3",
        "--per-request",
        "7",
    ]


def test_a_password_in_an_address_is_not_typed_again() -> None:
    asking = Asking(base_url=["http://me:secret@127.0.0.1:8000/v1", "http://127.0.0.1:8001/v1"])
    assert asking.words() == [
        "--base-url",
        "http://127.0.0.1:8000/v1",
        "--base-url",
        "http://127.0.0.1:8001/v1",
    ]


def test_every_option_has_a_default() -> None:
    assert {field.name for field in fields(Asking)} == set(vars(Asking()))


def test_the_plan_is_the_one_that_the_options_say() -> None:
    asking = Asking(seed=4, temperature=0.3, per_request=2)
    plan = asking.plan(asking.bank(), "m", "completion")
    config = plan.config()
    assert (config["seed"], config["temperature"], config["per_request"]) == (4, 0.3, 2)
    assert (config["model"], config["template"]) == ("m", "completion.v2")


@pytest.mark.parametrize(
    ("style", "template", "temperature"),
    [("chat", "chat.v2", 0.8), ("completion", "completion.v2", 0.5)],
)
def test_a_style_has_its_newest_template_and_that_its_temperature(
    style: str, template: str, temperature: float
) -> None:
    asking = Asking()
    config = asking.plan(asking.bank(), "m", style).config()
    assert (config["template"], config["temperature"]) == (template, temperature)


def test_an_older_template_can_be_named() -> None:
    asking = Asking(template="completion.v1")
    config = asking.plan(asking.bank(), "m", "completion").config()
    assert (config["template"], config["temperature"]) == ("completion.v1", 0.8)
    with pytest.raises(UsageError, match="asks for --style completion, got chat"):
        asking.plan(asking.bank(), "m", "chat")


def test_a_plan_that_cannot_work_is_a_users_mistake() -> None:
    asking = Asking(per_request=1000)
    with pytest.raises(UsageError, match="per_request"):
        asking.plan(asking.bank(), "m", "chat")
