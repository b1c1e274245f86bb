"""What merged caches say of their past: the steps of all, the last settings, common terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cache_store.card_steps import licence_of
from cache_store.manifest import Manifest


def joined_steps(manifests: Sequence[Manifest]) -> list[Mapping[str, Any]]:
    """The steps of all, each once; of each plan the step that came furthest is the last.

    For where a plan goes on is read from its last step, and going on from an earlier place would
    ask again what was paid.
    """
    steps: list[Mapping[str, Any]] = []
    for manifest in manifests:
        steps += [step for step in manifest.provenance if step not in steps]
    furthest: dict[str, Mapping[str, Any]] = {}
    for step in steps:
        if "plan" in step and "next_request" in step:
            best = furthest.get(step["plan"])
            if best is None or _place(step) >= _place(best):
                furthest[step["plan"]] = step
    last = list(furthest.values())
    return [*(step for step in steps if not any(step is one for one in last)), *last]


def _place(step: Mapping[str, Any]) -> tuple[int, ...]:
    names = ("next_request", "next_piece", "round", "retried")
    return tuple(int(step.get(name) or 0) for name in names)


def last_settings(manifests: Sequence[Manifest]) -> dict[str, Any]:
    """The settings of the last generation that any had."""
    for manifest in reversed(manifests):
        if manifest.config:
            return {"config": manifest.config, "template_hash": manifest.template_hash}
    return {}


def common_terms(inputs: Sequence[tuple[str, Manifest]]) -> dict[str, Any]:
    """Under which terms the whole is: one licence only if all inputs have the same."""
    given = {name: licence_of(manifest.provenance) for name, manifest in inputs}
    licences = set(given.values())
    if licences == {""}:
        return {}
    if len(licences) == 1:
        return {"license": licences.pop()}
    return {
        "license": "other",
        "licenses": {name: licence or "not stated" for name, licence in given.items()},
    }
