"""What each round of a growth decided, in the cache's provenance: so that a rerun goes on with it.

A round begins by publishing its decisions (`begun`) and ends by publishing where the cache stood
when it was measured (`measured`). A process that dies between the two leaves a begun round; the
same command finds it, asks for what is missing of *its* plan, and never decides anew from a
half-grown cache. The coverage of any round follows from the data files that were there, so it is
not trusted from here but measured again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cache_store.errors import ChangedPlanError
from pipeline.grow.kept import key_of

if TYPE_CHECKING:
    from cache_store.manifest import Manifest

STEP = "grow"
BEGUN, MEASURED = "begun", "measured"


@dataclass(frozen=True)
class Round:
    """One round as it was decided.

    Attributes:
        growth: Name of the growth: of its clips, concepts, model and seed.
        number: From 1.
        files: Data files that the cache had when it began.
        data: Hash of those files: a cache that was rewritten since is another one.
        concepts: Names of the concepts to write about.
        clips: For each, the far clips that it is to serve.
        repeats: For each, how often it comes in a round of the plan.
        captions: Captions to write.
        plan: Key of the plan.
        budget: Captions that the whole growth may write, as it was when the round began.
        measured: Data files when it was measured; None while it is not.
        kept: Captions that it wrote.
        used_up: Whether the model ran out of captions first.
    """

    growth: str
    number: int
    files: int
    data: str
    concepts: tuple[str, ...]
    clips: tuple[int, ...]
    repeats: tuple[int, ...]
    captions: int
    plan: str
    budget: int
    measured: int | None = None
    kept: int = 0
    used_up: bool = False

    def begun_step(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """The step that says that it begins; `facts` are for the reader of the card."""
        return {
            "step": STEP,
            "state": BEGUN,
            "growth": self.growth,
            "round": self.number,
            "files": self.files,
            "data": self.data,
            "concepts": list(self.concepts),
            "clips": list(self.clips),
            "repeats": list(self.repeats),
            "captions": self.captions,
            "plan": self.plan,
            "budget": self.budget,
            **facts,
        }

    def measured_step(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """The step that says how it ended."""
        return {
            "step": STEP,
            "state": MEASURED,
            "growth": self.growth,
            "round": self.number,
            "measured": self.measured,
            "kept": self.kept,
            "used_up": self.used_up,
            **facts,
        }


def growth_key(clips: str, bank: str, plan: Mapping[str, Any]) -> str:
    """The name of a growth; how many captions and rounds it may take is not part of it.

    Args:
        clips: Name of the clips.
        bank: Hash of the concepts.
        plan: Settings of the plan; those of its bank do not count.
    """
    settings = {name: value for name, value in plan.items() if name != "bank"}
    return key_of("growth", clips, bank, settings)


def rounds_of(manifest: Manifest, growth: str) -> list[Round]:
    """The rounds of a growth that a cache knows of, in order.

    Raises:
        ChangedPlanError: If the cache's data was rewritten since the first of them began.
    """
    found: dict[int, Round] = {}
    for step in manifest.provenance:
        if step.get("step") != STEP or step.get("growth") != growth:
            continue
        if step["state"] == BEGUN:
            found[step["round"]] = _begun(step)
        else:
            found[step["round"]] = replace(
                found[step["round"]],
                measured=step["measured"],
                kept=step["kept"],
                used_up=step["used_up"],
            )
    rounds = [found[number] for number in sorted(found)]
    for one in rounds:
        if files_hash(manifest, one.files) != one.data:
            raise ChangedPlanError(
                "the cache was rewritten since this growth began: its rounds cannot be measured",
                expected=f"the {one.files} data files of round {one.number}",
                found=f"{len(manifest.data)} others",
                hint="Begin another growth: the same command with another --seed",
            )
    return rounds


def begun_rounds(provenance: Iterable[Mapping[str, Any]]) -> list[Round]:
    """Every round of every growth as it was decided, oldest first, whatever became of it."""
    steps = (step for step in provenance if step.get("step") == STEP)
    return [_begun(step) for step in steps if step["state"] == BEGUN]


def _begun(step: Mapping[str, Any]) -> Round:
    return Round(
        growth=step["growth"],
        number=step["round"],
        files=step["files"],
        data=step["data"],
        concepts=tuple(step["concepts"]),
        clips=tuple(step["clips"]),
        repeats=tuple(step["repeats"]),
        captions=step["captions"],
        plan=step["plan"],
        budget=step["budget"],
    )


def files_hash(manifest: Manifest, count: int) -> str:
    """The hash of the first `count` data files, "" where there are fewer."""
    if count > len(manifest.data):
        return ""
    return replace(manifest, data=manifest.data[:count]).data_hash()
