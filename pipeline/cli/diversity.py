"""`lqtse-cache diversity`: how diverse the captions are, beside others at the same n."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from cache_store import console
from pipeline.cli.options import AsJson, CacheFolder, Device, SpaceSpec

if TYPE_CHECKING:
    from cache_store.cache import Cache
    from pipeline.diversity_report import Diversity, Embed, Measures


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("diversity")(command)


def command(
    cache: CacheFolder,
    against: Annotated[
        Optional[list[Path]],
        typer.Option(
            metavar="FILE",
            help="Other captions to stand beside (txt, csv, jsonl, parquet); may be repeated.",
            show_default=False,
        ),
    ] = None,
    sample: Annotated[
        int,
        typer.Option(min=2, metavar="N", help="Captions of each set; the smallest set decides."),
    ] = 10_000,
    seed: Annotated[int, typer.Option(min=0, metavar="S", help="Which captions are drawn.")] = 0,
    concepts: Annotated[
        Optional[Path],
        typer.Option(metavar="FILE", help="The sounds to be covered.", show_default="our own list"),
    ] = None,
    column: Annotated[
        str, typer.Option(metavar="NAME", help="Where the captions of FILE are.")
    ] = "caption",
    space: SpaceSpec = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Measure how diverse the captions of a cache are.

    distinct-n and vocabulary: larger is more diverse. self-BLEU: smaller is. The Vendi score says
    how many unlike captions the sample is worth in the cache's embedding space. All of them depend
    on the number of captions: compare at the same n only.

    \b
    Examples:
      lqtse-cache diversity my-cache
      lqtse-cache diversity my-cache --against audiocaps_train.csv --sample 2000
    """
    from cache_store.cache import open_cache
    from pipeline.concepts import read_concepts
    from pipeline.diversity_report import measure_cache

    bank = read_concepts(concepts)
    with open_cache(cache) as store:
        found = measure_cache(
            store,
            against=against or (),
            column=column,
            sample=sample,
            seed=seed,
            bank=bank,
            embed=_embedder(store, space, device) if against else None,
        )
        other_bank = store.manifest.config.get("bank", {}).get("hash", bank.hash) != bank.hash
    if other_bank:
        console.note(
            "note: the captions were asked for with another list of concepts; "
            "name it with --concepts"
        )
    if as_json:
        console.summarise(asdict(found), as_json=True)
        return
    for line in table(found):
        console.say(line)
    console.say()
    console.summarise(_of_cache(found), as_json=False, title=str(cache))


def _embedder(store: Cache, space: str | None, device: str) -> Embed | None:
    """What embeds other captions in the cache's space, None (and a note) if nothing can."""
    from pipeline.spaces import load_matching, loadable

    record = store.manifest.space
    if record is None:
        return None
    if space is None and (not loadable(record) or record.name.startswith("stored:")):
        console.note(
            f"note: no Vendi score beside the cache's, since {record.name} embeds no other "
            "captions; name the model with --space"
        )
        return None
    return load_matching(space, record, device=device).embed_text


def table(found: Diversity) -> list[str]:
    """The measures of all sets as the lines of a Markdown table."""
    columns = [_cells(found, one) for one in found.sets]
    rows = [("", *(one.name for one in found.sets))]
    rows += [(name, *(cells[name] for cells in columns)) for name in columns[0]]
    widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(map(_aligned, row, widths, range(len(row)))) + " |" for row in rows]
    rule = "|" + "|".join("-" * (width + 1) + ("-:"[i > 0]) for i, width in enumerate(widths))
    return [lines[0], rule + "|", *lines[1:]]


def _aligned(cell: str, width: int, place: int) -> str:
    return cell.rjust(width) if place else cell.ljust(width)


def _cells(found: Diversity, one: Measures) -> dict[str, str]:
    """A set's column of the table: the name of each row and what stands there."""
    cells = {
        "captions": f"{one.captions:,}",
        "measured on": f"{one.sampled:,}",
        "words, mean": f"{one.mean_words:.2f}",
        "vocabulary": f"{one.vocabulary:,}",
        **{f"distinct-{n}": f"{value:.3f}" for n, value in enumerate(one.distinct, start=1)},
        "self-BLEU-4": f"{one.self_bleu:.3f}",
        "duplicates": f"{one.duplicates:.1%}",
        "near duplicates": f"{one.near_duplicates:.1%}",
        **{f"words: {name}": f"{share:.1%}" for name, share in one.lengths.items()},
    }
    if found.space:
        cells[f"Vendi score ({found.space})"] = _told(one.vendi, ".2f")
        cells[f"mean cosine ({found.space})"] = _told(one.mean_cosine, ".3f")
    return cells


def _told(value: float | None, spec: str) -> str:
    return "" if value is None else format(value, spec)


def _of_cache(found: Diversity) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if found.registers:
        facts["registers"] = {name: f"{share:.1%}" for name, share in found.registers.items()}
    if found.coverage is not None:
        held = found.coverage
        facts["concepts covered"] = f"{held.share:.1%} of {held.concepts:,}"
        facts["captions a concept"] = f"{held.least} to {held.most}, median {held.median:g}"
        facts["evenness over concepts"] = _told(held.evenness, ".3f")
        if held.absent:
            facts["without a caption"] = list(held.absent)
    heard = found.echo
    if heard.within is not None:
        facts["likeness within an answer"] = f"{heard.within:.3f} ({heard.within_pairs:,} pairs)"
    if heard.across is not None:
        facts["likeness across answers"] = f"{heard.across:.3f} ({heard.across_pairs:,} pairs)"
    return facts
