"""The part of a dataset card that tells where the rows come from, read from the provenance.

One row a step, in words for the steps that we know; one row a source of captions; what was refused;
and under which terms. Values come from files and servers, so every cell is escaped.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

Step = Mapping[str, Any]

_ASKING = ("generate", "retry", "grow")  # steps that ask a language model
_SHOWN = ("step", "date")


def provenance(steps: Sequence[Step]) -> str:
    """The sections about sources, refusals and steps; "" if nothing is known."""
    if not steps:
        return ""
    return "\n".join(part for part in (_sources(steps), _refused(steps), _steps(steps)) if part)


def licence_of(steps: Sequence[Step]) -> str:
    """The licence that the user last gave for the captions, "" if none."""
    return next((str(step["license"]) for step in reversed(steps) if step.get("license")), "")


def is_english(steps: Sequence[Step]) -> bool:
    """Whether every caption was judged to be English: those of others may be in any language."""
    return bool(steps) and not any(step.get("step") == "import" for step in steps)


def is_generated(steps: Sequence[Step]) -> bool:
    """Whether any caption was written by a machine."""
    return any(step.get("step") in _ASKING for step in steps)


def licence(steps: Sequence[Step]) -> str:
    """The section about terms."""
    given = licence_of(steps)
    lines = [
        f"The captions: {_cell(given)}."
        if given
        else "No licence was given for the captions (`lqtse-cache card CACHE --license ID`)."
    ]
    told = next(
        (step["model_license"] for step in reversed(steps) if step.get("model_license")), ""
    )
    models = {str(step.get("model", "")) for step in steps if step.get("llm")}
    if told:
        lines.append(f"The generating model: {_cell(told)}.")
    elif models:
        lines.append(
            f"The licence and terms of the generating model ({_cell(', '.join(sorted(models)))}) "
            "apply to what it wrote; they are not stated here."
        )
    for name in sorted(
        {str(step["source"]) for step in steps if step.get("step") == "import" and "source" in step}
    ):
        lines.append(f"Captions imported from `{_cell(name)}` stay under their own licence.")
    return "## Licence\n\n" + "\n\n".join(lines) + "\n"


def _sources(steps: Sequence[Step]) -> str:
    """One row for each plan that a model was asked by, and for each file that was imported."""
    plans: dict[str, list[Step]] = {}
    for step in steps:
        if step.get("step") in _ASKING and "plan" in step:
            plans.setdefault(str(step["plan"]), []).append(step)
    parts = []
    if plans:
        rows = [_plan_row(found) for found in plans.values()]
        parts.append(
            "Written from words alone, with no audio involved. A prompt is known by its template "
            "and the hash of its wording, a list of concepts and the axes of diversity by theirs."
            "\n\n"
            + _table(
                (
                    "model",
                    "asked through",
                    "prompt",
                    "seed",
                    "concepts",
                    "axes",
                    "captions",
                    "requests",
                    "tokens read",
                    "tokens written",
                    "USD",
                    "when",
                ),
                rows,
            )
        )
    if not parts:
        return ""
    return "## Who wrote the captions\n\n" + "\n".join(parts)


def _plan_row(steps: Sequence[Step]) -> tuple[object, ...]:
    last = steps[-1]
    config = last.get("config", {})
    bank = config.get("bank", {})
    model = str(last.get("model", ""))
    if last.get("llm") is False:
        model += " (no language model)"
    costs = [step["usd"] for step in steps if isinstance(step.get("usd"), int | float)]
    return (
        model,
        last.get("base_url") or last.get("backend", ""),
        f"{config.get('template', '')} `{str(config.get('template_hash', ''))[:12]}`",
        last.get("seed", ""),
        _bank(bank, last.get("concepts_from", "")),
        f"`{str(config.get('axes', ''))[:12]}`",
        _sum(steps, "captions"),
        _sum(steps, "requests"),
        _sum(steps, "prompt_tokens"),
        _sum(steps, "completion_tokens"),
        f"{sum(costs):.4f}" if costs else "",
        _days(steps),
    )


def _bank(bank: Step, origin: object) -> str:
    """A list of concepts: how many, whose, which."""
    if not bank:
        return ""
    return f"{bank.get('concepts', 0):,} {origin} `{str(bank.get('hash', ''))[:12]}`"


def _refused(steps: Sequence[Step]) -> str:
    counts: Counter[str] = Counter()
    kept = 0
    for step in steps:
        counts.update(step.get("rejected") or {})
        kept += step.get("captions", step.get("added", 0)) if "rejected" in step else 0
    if not counts:
        return ""
    judged = kept + counts.total()
    rows = [
        (reason.replace("_", " "), count, f"{count / judged:.1%}")
        for reason, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    ]
    table = _table(("reason", "captions", "of all judged"), rows)
    return (
        f"## What was refused\n\n{counts.total():,} of {judged:,} captions; they are in "
        f"`rejects/`, each with its reason.\n\n{table}"
    )


def _steps(steps: Sequence[Step]) -> str:
    rows = [
        (str(step.get("date", ""))[:16].replace("T", " "), step.get("step", ""), _told(step))
        for step in steps
    ]
    return "## Steps\n\n" + _table(("when (UTC)", "step", "what it did"), rows)


def _told(step: Step) -> str:
    name = str(step.get("step", ""))
    if name in _ASKING and "plan" in step:
        return _told_asking(step)
    tell = _TOLD.get(name)
    if tell is not None and all(key in step for key in tell[0]):
        # A step of another version may hold anything: a card must not end a command.
        with suppress(TypeError, ValueError, AttributeError):
            return tell[1](step)
    return ", ".join(f"{key} {_plain(step[key])}" for key in step if key not in _SHOWN)


def _told_asking(step: Step) -> str:
    refused = sum((step.get("rejected") or {}).values())
    text = f"{step.get('captions', 0):,} captions by {step.get('model', '')}, {refused:,} refused"
    replayed = step.get("replayed", 0)
    text += f"; {step.get('requests', 0):,} requests answered"
    if replayed:
        text += f", {replayed:,} from the ledger"
    if step.get("attempts_failed"):
        text += f", {step['attempts_failed']:,} attempts failed"
    return text


def _told_import(step: Step) -> str:
    refused = sum((step.get("rejected") or {}).values())
    text = f"{step['added']:,} captions of {step['read']:,} from {step['source']}"
    text += f" (SHA-256 {str(step['sha256'])[:12]}), {refused:,} refused"
    return text + (f", with embeddings of {step['space']}" if "space" in step else "")


def _told_embed(step: Step) -> str:
    text = f"{step['captions']:,} captions by {step['space']}, {step['dtype']}, on {step['device']}"
    if step.get("precisions"):
        text += f", computed in {' and '.join(sorted(step['precisions']))}"
    return text + (f"; {step['cut']:,} were longer than its limit and cut" if step["cut"] else "")


def _told_index(step: Step) -> str:
    text = f"{step['kind']} over {step['rows']:,} embeddings"
    if "recall_at_10" in step:
        text += f", recall at 10 {step['recall_at_10']:.3f} ({step.get('recall_queries', '')})"
    return text


def _told_centre(step: Step) -> str:
    text = f"the mean of {step['captions']:,} captions"
    return text + (f" and of {step['recordings']:,} recordings" if step["recordings"] else "")


def _told_card(step: Step) -> str:
    said = [
        f"{what}: {step[key]}"
        for key, what in (("license", "licence"), ("model_license", "licence of the model"))
        if step.get(key)
    ]
    return ", ".join(said)


def _told_merge(step: Step) -> str:
    given = [
        f"{one['taken']:,} of {one['captions']:,} from {one['name']}" for one in step["counts"]
    ]
    licences = step.get("licenses") or {}
    terms = [f"{name}: {licence}" for name, licence in licences.items()]
    text = "captions: " + ", ".join(given)
    return text + ("; licences: " + ", ".join(terms) if terms else "")


def _told_compact(step: Step) -> str:
    text = f"{step['rows']:,} captions kept, {step['removed']:,} removed ones left out"
    return f"{text}; {step['files_before']:,} files became {step['files_after']:,}"


def _told_remove(step: Step) -> str:
    how = f" by `{step['where']}`" if "where" in step else " by their ids"
    return f"{step['removed']:,} of {step['captions']:,} captions removed{how}"


def _told_repair(step: Step) -> str:
    text = f"{step['files']:,} damaged files dealt with, {step['captions_lost']:,} captions lost"
    return f"{text}, {step['to_embed_again']:,} to be embedded again"


# What a step must tell, and how it is put into words.
_TOLD: dict[str, tuple[tuple[str, ...], Callable[[Step], str]]] = {
    "import": (("added", "read", "source", "sha256"), _told_import),
    "embed": (("captions", "space", "dtype", "device", "cut"), _told_embed),
    "index": (("kind", "rows"), _told_index),
    "centre": (("captions", "recordings"), _told_centre),
    "card": ((), _told_card),
    "merge": (("counts",), _told_merge),
    "compact": (("rows", "removed", "files_before", "files_after"), _told_compact),
    "repair": (("files", "captions_lost", "to_embed_again"), _told_repair),
    "remove": (("removed", "captions"), _told_remove),
}


def _sum(steps: Sequence[Step], name: str) -> int:
    return sum(found for step in steps if isinstance(found := step.get(name), int))


def _days(steps: Sequence[Step]) -> str:
    days = sorted({str(step.get("date", ""))[:10] for step in steps})
    return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table of Markdown; columns that are empty in every row are left out."""
    kept = [place for place in range(len(head)) if any(str(row[place]) != "" for row in rows)]
    lines = [
        "| " + " | ".join(head[place] for place in kept) + " |",
        "|" + "---|" * len(kept),
        *("| " + " | ".join(_cell(row[place]) for place in kept) + " |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    """A value that cannot leave its cell, nor become HTML or a control sequence."""
    text = f"{value:,}" if isinstance(value, int) else str(value)
    text = "".join(one if one.isprintable() else " " for one in text)
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").strip()


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
