"""How far a plan has come in a cache: read from the provenance in the newest manifest.

A plan is known by a hash of its settings. Each step that worked on it says how many captions it has
and where it goes on, and each `retry` how far it came, so what is published and the place to go on
from change together.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from cache_store.errors import ChangedPlanError
    from cache_store.manifest import Manifest
    from prompts.plan import Plan

STEP = "generate"
RETRY_STEP = "retry"


@dataclass(frozen=True)
class Standing:
    """How far a plan has come in a cache.

    Attributes:
        kept: Captions that it has there.
        request: Position of the first request that is not used up.
        piece: The first caption of that request's answer that was not judged.
        round: How often `retry` has been at work; 0 for never.
        retried: In its last round, positions before this one are dealt with.
    """

    kept: int = 0
    request: int = 0
    piece: int = 0
    round: int = 0
    retried: int = 0


def plan_key(plan: Plan) -> str:
    """The name of a plan in the provenance: a hash of its settings."""
    spelled = json.dumps(plan.config(), sort_keys=True)
    return hashlib.sha256(spelled.encode()).hexdigest()[:16]


def plans_of(manifest: Manifest | None) -> dict[str, Mapping[str, Any]]:
    """The last step of each plan that a cache has, oldest plan first, by key."""
    steps = manifest.provenance if manifest is not None else ()
    return {step["plan"]: step for step in steps if step.get("step") in (STEP, RETRY_STEP)}


def standing_of(manifest: Manifest | None, key: str) -> Standing:
    """How far the plan of this key has come."""
    step = plans_of(manifest).get(key)
    if step is None:
        return Standing()
    return Standing(
        step["kept"],
        step["next_request"],
        step["next_piece"],
        step.get("round", 0),
        step.get("retried", 0),
    )


def other_plan(
    plan: Plan, steps: Mapping[str, Mapping[str, Any]], where: str | Path, hint: str
) -> ChangedPlanError:
    """The error of a plan that a cache does not have: what differs from the last one it has."""
    from cache_store.errors import ChangedPlanError

    last, now = list(steps.values())[-1]["config"], plan.config()
    names = [name for name in now if now[name] != last.get(name)]
    return ChangedPlanError(
        "the captions of this cache were asked for with other settings",
        where=where,
        expected=", ".join(f"{name} {_said(last.get(name))}" for name in names),
        found=", ".join(f"{name} {_said(now[name])}" for name in names),
        hint=hint,
    )


def _said(value: object) -> str:
    if isinstance(value, dict):
        return f"of {value.get('concepts')} concepts ({str(value.get('hash'))[:8]})"
    return "none" if value is None else str(value)
