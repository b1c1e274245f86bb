"""The options that say what is asked and who answers: one definition for all commands that ask.

A command takes them as one parameter (`asking: Asking`) under the decorator `grouped`; a new
option is a new field here, or in `answering`, which says who answers.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from cache_store.errors import UsageError
from pipeline.cli.answering import Answering, BackendName

if TYPE_CHECKING:
    from prompts.bank import ConceptBank
    from prompts.plan import Plan

TEMPLATES = {"chat": "chat.v2", "completion": "completion.v2"}  # the newest of each style

Captions = Annotated[
    int,
    typer.Option(
        "-n",
        min=1,
        metavar="N",
        help="Captions to have in the end, earlier runs included.",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class Asking(Answering):
    """What is asked, on top of who answers."""

    concepts: Annotated[
        Optional[Path],
        typer.Option(
            metavar="FILE",
            help="Sounds to write about: one a line (.txt), .csv, or AudioSet's ontology (.json).",
            show_default="our own list",
        ),
    ] = None
    seed: Annotated[int, typer.Option(min=0, metavar="S", help="Of what is asked.")] = 0
    template: Annotated[
        Optional[str],
        typer.Option(
            metavar="NAME",
            help="The version of the wording, such as chat.v1: to go on with a cache that was "
            "begun with an older one.",
            show_default="the newest of the style",
        ),
    ] = None
    per_request: Annotated[
        Optional[int],
        typer.Option(
            min=1, metavar="K", help="Captions a request.", show_default="5; completion: 1"
        ),
    ] = None
    temperature: Annotated[
        Optional[float],
        typer.Option(
            min=0.0,
            max=2.0,
            metavar="T",
            help="Of the sampling.",
            show_default="0.8; completion: 0.5",
        ),
    ] = None

    def bank(self) -> ConceptBank:
        """Read the concepts to write about."""
        from pipeline.concepts import read_concepts

        return read_concepts(self.concepts)

    def plan(self, bank: ConceptBank, model: str, style: str) -> Plan:
        """The requests that these options make, for the model and style of the backend."""
        from prompts.errors import PromptError
        from prompts.plan import Plan, Sampling
        from prompts.templating import find_template

        try:
            template = find_template(self.template or TEMPLATES[style])
            given = self.temperature
            if template.style != style:
                raise PromptError(
                    f"--template {template.name} asks for --style {template.style}, got {style}"
                )
            sampling = Sampling(template.temperature if given is None else given)
            return Plan(
                bank=bank,
                seed=self.seed,
                model=model,
                sampling=sampling,
                template=template.name,
                per_request=self.per_request,
            )
        except PromptError as error:
            raise UsageError(str(error)) from None

    def notes(self) -> dict[str, str]:
        """What the dataset card shall tell besides: whose concepts, and the model's licence."""
        found = {"concepts_from": self.concepts.name if self.concepts else "of lqtse"}
        if self.backend is BackendName.local:
            from pipeline.llm.weights import find_weights
            from pipeline.tokens.gguf import read_metadata

            weights = find_weights(self.model)
            if licence := read_metadata(weights).get("general.license"):
                found["model_license"] = f"{licence}, says {weights.name}"
        return found

    def words(self) -> list[str]:
        """The options as a user would type them, those left at their defaults left out.

        The address of a server comes without the password that it may hold.
        """
        from pipeline.llm.address import public_address

        typed: list[str] = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value is True:
                typed.append(f"--{field.name.replace('_', '-')}")
            elif value != field.default:
                for one in value if isinstance(value, list) else [value]:
                    said = one.value if isinstance(one, Enum) else one
                    if field.name == "base_url":
                        said = public_address(str(one))
                    typed += [f"--{field.name.replace('_', '-')}", str(said)]
        return typed
