"""`lqtse-cache stats`: what a cache holds, in numbers."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from cache_store import console
from cache_store.printing import printable
from pipeline.cli.options import AsJson, CacheFolder, command_line

if TYPE_CHECKING:
    from cache_store.manifest import Manifest
    from pipeline.rejects import Rejects

_GROUPS = 8  # registers, or concepts, that are named


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("stats")(command)


def command(cache: CacheFolder, as_json: AsJson = False) -> None:
    """Count what a cache holds.

    \b
    Examples:
      lqtse-cache stats my-cache
      lqtse-cache stats my-cache --json
    """
    from cache_store.cache import open_cache
    from pipeline.describe import describe
    from pipeline.rejects import summarise_rejects

    with open_cache(cache) as store:
        facts = store.stats()
        description = describe(store)
        rejects = summarise_rejects(store)
        following = _following(store.manifest)
    # Imported captions name no model.
    models = {name or "not by a model": count for name, count in facts["models"].items()}
    facts |= {
        "captions": description.captions,
        "models": models,
        "captions by words": description.lengths,
        "concepts": description.concepts,
        "commonest concepts": description.commonest,
        "captions without a concept": description.without_concept,
    }
    if description.vendi is not None:
        facts["captions sampled for the spread"] = description.sampled
        facts["mean cosine of two captions"] = _rounded(description.mean_cosine)
        facts["Vendi score of the sample"] = _rounded(description.vendi)
    facts.pop("refused by reason", None)  # told below, with shares and examples
    if as_json:
        facts["rejects"] = _record(rejects)
    if not as_json:  # before the first embedding there is no space to tell of
        facts = {name: value for name, value in facts.items() if value is not None}
    if not as_json and rejects.refused:
        console.summarise(facts, as_json=False, title=str(cache))
        _print(rejects)
        console.say(f"next: {command_line(following, cache)}")
        return
    console.summarise(
        facts, as_json=as_json, next_command=command_line(following, cache), title=str(cache)
    )


def _print(rejects: Rejects) -> None:
    """What was refused, as a table."""
    console.say(f"refused: {rejects.refused:,} of {rejects.judged:,} that were judged")
    width = max(len(one.name) for one in rejects.reasons)
    for one in rejects.reasons:
        example = f"  {printable(one.example)}" if one.example else ""
        console.say(f"  {one.name:<{width}}  {one.refused:>7,}  {one.share:6.1%}{example}")
    for title, groups in (("registers", rejects.registers), ("concepts", rejects.concepts)):
        if groups:
            shown = ", ".join(
                f"{one.name} {one.share:.0%} of {one.judged:,}" for one in groups[:_GROUPS]
            )
            console.say(f"most refused {title}: {printable(shown)}")


def _record(rejects: Rejects) -> dict[str, object]:
    groups = {
        name: {one.name: {"refused": one.refused, "judged": one.judged} for one in found}
        for name, found in (("registers", rejects.registers), ("concepts", rejects.concepts))
    }
    return {
        "refused": rejects.refused,
        "judged": rejects.judged,
        "reasons": [asdict(one) for one in rejects.reasons],
        **groups,
    }


def _following(manifest: Manifest) -> str:
    from pipeline.importing import unembedded_rows

    if unembedded_rows(manifest):
        return "embed"
    return "verify" if any(map(manifest.is_fresh, manifest.indexes)) else "index"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
