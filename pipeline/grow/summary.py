"""A growth's report as the facts that the command ends with: for a reader, and for a machine."""

from __future__ import annotations

from pipeline.grow.coverage import Coverage
from pipeline.grow.report import GrowReport, RoundReport, told

_SHOWN = 12  # concepts named to a reader


def words_of(report: GrowReport) -> dict[str, object]:
    """The facts for a reader."""
    facts: dict[str, object] = {
        "clips": len(report.before.far),
        "space": report.prepared.model.name,
        "captions in the cache": report.captions,
        "before": told(report.before),
    }
    for one in report.rounds:
        written = dict(list(one.written.items())[:_SHOWN])
        more = len(one.written) - len(written)
        facts[f"round {one.record.number}, captions"] = {
            **written,
            **({f"and {more} more concepts": ""} if more else {}),
        }
        facts[f"round {one.record.number}, after"] = told(one.coverage)
    if report.rounds:
        facts |= _spent(report)
    elif report.next is not None:
        names = [report.prepared.bank.concepts[row].name for row in report.next.concepts]
        pairs = dict(zip(names, report.next.clips, strict=True))
        facts["would ask for, and clips served"] = dict(list(pairs.items())[:_SHOWN])
        facts["concepts to ask for"] = len(pairs)
    facts["ended"] = report.ended
    return facts


def _spent(report: GrowReport) -> dict[str, object]:
    spent = [one.spent for one in report.rounds]
    facts: dict[str, object] = {
        "captions added": report.kept,
        "requests answered": sum(one.requests for one in spent),
        "tokens read": sum(one.prompt_tokens for one in spent),
        "tokens written": sum(one.completion_tokens for one in spent),
    }
    prices = [one.usd for one in spent if one.usd is not None]
    if prices:
        facts["cost in USD"] = round(sum(prices), 6)
    return facts


def numbers_of(report: GrowReport) -> dict[str, object]:
    """The facts for a machine."""
    bank = report.prepared.bank.concepts
    facts: dict[str, object] = {
        "clips": len(report.before.far),
        "rejected": len(report.prepared.recordings.rejects),
        "space": report.prepared.model.name,
        "captions": report.captions,
        "before": _numbers(report.before),
        "after": _numbers(report.after),
        "rounds": [_round(one) for one in report.rounds],
        **(_spent(report) if report.rounds else {"captions added": 0}),
        "ended": report.ended,
    }
    if report.next is not None:
        facts["next concepts"] = {
            bank[row].name: clips
            for row, clips in zip(report.next.concepts, report.next.clips, strict=True)
        }
    return facts


def _round(one: RoundReport) -> dict[str, object]:
    return {
        "round": one.record.number,
        "captions": one.record.kept,
        "asked": one.record.captions,
        "used_up": one.record.used_up,
        "concepts": one.written,
        "after": _numbers(one.coverage),
    }


def _numbers(coverage: Coverage) -> dict[str, object]:
    low, high = coverage.interval()
    return {
        "coverage": round(coverage.share, 4),
        "interval": [round(low, 4), round(high, 4)],
        "far": int(coverage.far.sum()),
        "near_no_concept": int(coverage.near_nothing.sum()),
        "threshold": round(coverage.threshold, 4),
    }
