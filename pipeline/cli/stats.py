"""`lqtse-cache stats`: what a cache holds, in numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from cache_store import console
from pipeline.cli.options import AsJson, CacheFolder, command_line

if TYPE_CHECKING:
    from cache_store.manifest import Manifest


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

    with open_cache(cache) as store:
        facts = store.stats()
        description = describe(store)
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
    if not as_json:  # before the first embedding there is no space to tell of
        facts = {name: value for name, value in facts.items() if value is not None}
    console.summarise(
        facts, as_json=as_json, next_command=command_line(following, cache), title=str(cache)
    )


def _following(manifest: Manifest) -> str:
    from pipeline.importing import unembedded_rows

    if unembedded_rows(manifest):
        return "embed"
    return "verify" if any(map(manifest.is_fresh, manifest.indexes)) else "index"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
