"""Arms that begin with the weights of another one, `init = "arm:NAME"`. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.ablation.plan import Arm

ARM = "arm:"


def beginning(arm: Arm) -> str:
    """The name of the arm that it begins with, "" for none."""
    init = arm.settings.get("init")
    return init.removeprefix(ARM) if isinstance(init, str) and init.startswith(ARM) else ""


def wrong_beginnings(arms: Sequence[Arm], train: Mapping[str, Any]) -> list[str]:
    """What is wrong with those of a plan; `train` is what all its arms share."""
    faults = []
    if str(train.get("init", "")).startswith(ARM):
        faults.append(
            f"`train.init` cannot be an arm: say {train['init']!r} in each that begins so"
        )
    for number, arm in enumerate(arms):
        name = beginning(arm)
        if name and name not in [one.name for one in arms[:number]]:
            found = f"{arm.settings['init']!r} (arm {arm.name!r})"
            faults.append(f"`init` must name an arm further up, got {found}")
    return faults


def with_beginnings(names: Sequence[str], arms: Sequence[Arm]) -> set[str]:
    """Names of arms, and of those that they begin with."""
    wanted = set(names)
    for arm in reversed(arms):
        if arm.name in wanted:
            wanted |= {beginning(arm)} - {""}
    return wanted
