"""The page of a report: one HTML file that needs nothing else, and no script. Pure.

Captions, answers and names come from models, files and strangers, so every text goes through `esc`
and the page forbids itself to load or run anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.report import Facts, Meeting
from pipeline.svg import bars, columns, curve, esc

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1f2933;max-width:1000px;margin:2em auto;
padding:0 1.2em}
h1{margin-bottom:0}h2{margin-top:2em;border-bottom:1px solid #d9dee3;padding-bottom:.2em}
table{border-collapse:collapse;margin:.6em 0}td,th{padding:.25em .8em .25em 0;text-align:left;
vertical-align:top;overflow-wrap:anywhere}th{font-weight:600;border-bottom:1px solid #d9dee3}
td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
svg{display:block;max-width:640px;width:100%;margin:.4em 0}
.tiles{display:flex;flex-wrap:wrap;gap:.8em;margin:1em 0}
.tile{background:#f2f5f7;border-radius:8px;padding:.6em 1em;min-width:7em}
.tile b{display:block;font-size:1.5em}.quiet{color:#66707a}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(420px,1fr));gap:0 2em}
code{font-size:.9em;overflow-wrap:anywhere}
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_LONGEST = 400  # characters of one cell


def render(facts: Facts, name: str) -> str:
    """Return the page.

    Args:
        facts: What it tells.
        name: What the cache is called.
    """
    sections = [
        _head(facts, name),
        _captions(facts),
        _concepts(facts),
        _axes(facts),
        _rejects(facts),
        _meeting(facts.meeting),
        _indexes(facts),
        _space(facts),
        _provenance(facts.provenance),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f"<title>{esc(name)}: caption cache</title>\n<style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(section for section in sections if section)
        + "\n</body></html>\n"
    )


def _head(facts: Facts, name: str) -> str:
    stats = facts.stats
    tiles = (
        ("captions", stats["captions"]),
        ("embedded", stats["embedded"]),
        ("concepts", facts.description.concepts),
        ("refused", stats["refused"]),
        ("removed", stats["removed"]),
        ("MB on disk", round(stats["bytes"] / 1e6, 1)),
    )
    shown = "".join(
        f'<div class="tile"><b>{value:,}</b>{esc(label)}</div>' for label, value in tiles
    )
    return (
        f'<h1>{esc(name)}</h1><p class="quiet">Caption cache, manifest {stats["manifest"]}, '
        f"{esc(facts.created)}, written by lqtse {esc(facts.tool_version)}</p>"
        f'<div class="tiles">{shown}</div>'
    )


def _captions(facts: Facts) -> str:
    stats, described = facts.stats, facts.description
    lengths = bars(list(described.lengths.items()), "Captions by their number of words")
    listed = "".join(f"<li>{esc(_short(one))}</li>" for one in facts.examples)
    rows = [
        ("words a caption, mean", f"{stats['words a caption']:.2f}"),
        ("vocabulary", f"{stats['vocabulary']:,}"),
        *((f"by {name or 'no model'}", f"{count:,}") for name, count in stats["models"].items()),
    ]
    if described.vendi is not None and described.mean_cosine is not None:
        sampled = f"of {described.sampled:,} sampled"
        rows.append((f"mean cosine of two captions, {sampled}", f"{described.mean_cosine:.3f}"))
        rows.append((f"Vendi score, {sampled}", f"{described.vendi:.1f}"))
    return (
        f"<h2>Captions</h2><h3>Words</h3>{lengths}{_table(None, rows)}"
        f"<h3>Some of them</h3><ul>{listed}</ul>"
    )


def _concepts(facts: Facts) -> str:
    described = facts.description
    if not described.commonest:
        return ""
    said = f"{described.concepts:,} concepts"
    if described.without_concept:
        said += f"; {described.without_concept:,} captions were written for none"
    chart = bars(list(described.commonest.items()), "The commonest concepts")
    return f"<h2>Concepts</h2><p>{esc(said)}. The commonest:</p>{chart}"


def _axes(facts: Facts) -> str:
    if not facts.axes:
        return ""
    charts = "".join(
        f"<div><h3>{esc(name)}</h3>{bars(list(values.items()), f'Captions by {name}')}</div>"
        for name, values in facts.axes.items()
    )
    return f'<h2>Registers and other axes</h2><div class="pair">{charts}</div>'


def _rejects(facts: Facts) -> str:
    found = facts.rejects
    if not found.refused:
        return ""
    rows = [
        (one.name.replace("_", " "), f"{one.refused:,}", f"{one.share:.1%}", one.example)
        for one in found.reasons
    ]
    return (
        f"<h2>Refused</h2><p>{found.refused:,} of {found.judged:,} that were judged.</p>"
        + _table(("reason", "captions", "of all judged", "for example"), rows, numbers=(1, 2))
    )


def _meeting(meeting: Meeting | None) -> str:
    if meeting is None:
        return (
            '<h2>Audio and captions</h2><p class="quiet">Not measured: give clips with audio '
            "embeddings by <code>--queries CLIPS.parquet</code>.</p>"
        )
    rows = [
        ("clips searched for", f"{meeting.clips:,}"),
        ("gap: distance of the means of audio and text", f"{meeting.gap:.3f}"),
        *(
            (f"cosine to the nearest caption, quantile {share}", f"{value:.3f}")
            for share, value in meeting.nearest.items()
        ),
        ("captions that are nearest to any clip", f"{meeting.used:,}"),
        ("skewness of how often a caption is a neighbour", f"{meeting.skewness:.2f}"),
    ]
    histogram = columns(
        [(f"{edge:.2f}", count) for edge, count in meeting.histogram],
        "Clips by the cosine to their nearest caption",
    )
    hubs = [
        (caption, f"{count:,}", f"{count / meeting.clips:.1%}") for caption, count in meeting.hubs
    ]
    return (
        f"<h2>Audio and captions</h2><p>Clips of <code>{esc(meeting.name)}</code>.</p>"
        + _table(None, rows)
        + f"<h3>Cosine to the nearest caption</h3>{histogram}<h3>Hubs</h3>"
        + _table(("nearest caption", "of clips", "share"), hubs, numbers=(1, 2))
    )


def _indexes(facts: Facts) -> str:
    if not facts.indexes:
        return ""
    parts = []
    for index in facts.indexes:
        state = facts.stats["indexes"].get(index.kind) or facts.stats["means for centring"]
        size = sum(entry.bytes for entry in index.files)
        params = {name: value for name, value in index.params.items() if name != "curve"}
        rows = [("bytes", f"{size:,}"), *((name, _plain(value)) for name, value in params.items())]
        parts.append(f"<h3>{esc(index.kind)}, {esc(state)}</h3>{_table(None, rows)}")
        found = _curve(index.params.get("curve"))
        if found is not None:
            points, setting = found
            parts.append(curve(points, f"Recall at 10 by {setting}", f"{setting} → recall at 10"))
    return "<h2>Indexes</h2>" + "".join(parts)


def _curve(stored: object) -> tuple[list[tuple[float, float]], str] | None:
    """The curve that an index stored: a list of {setting, "recall_at_1", "recall_at_10"}.

    None if it has none, or one of another form.
    """
    points: list[tuple[float, float]] = []
    names = set()
    for one in stored if isinstance(stored, list | tuple) else ():
        share = one.get("recall_at_10") if isinstance(one, Mapping) else None
        if not isinstance(share, int | float):
            return None
        setting = next((name for name in one if not name.startswith("recall_at_")), None)
        if setting is None or not isinstance(one[setting], int | float):
            return None
        names.add(setting)
        points.append((float(one[setting]), float(share)))
    return (points, names.pop()) if len(points) > 1 and len(names) == 1 else None


def _space(facts: Facts) -> str:
    stats = facts.stats
    rows = [
        ("space", stats["space"] or "nothing is embedded"),
        ("fingerprint", stats["fingerprint"] or ""),
        ("embedding", f"{stats['dtype']}[{stats['dim']}]" if stats["dim"] else ""),
        ("files", f"{stats['files']:,}"),
        ("bytes", f"{stats['bytes']:,}"),
    ]
    return "<h2>Space and files</h2>" + _table(None, [row for row in rows if row[1]])


def _provenance(steps: Iterable[Mapping[str, Any]]) -> str:
    rows = [
        (
            str(step.get("date", ""))[:16].replace("T", " "),
            str(step.get("step", "")),
            ", ".join(
                f"{name} {_plain(value)}"
                for name, value in step.items()
                if name not in ("date", "step", "config")
            ),
        )
        for step in steps
    ]
    if not rows:
        return ""
    return "<h2>Provenance</h2>" + _table(("when (UTC)", "step", "what it did"), rows)


def _table(
    head: Sequence[str] | None, rows: Iterable[Sequence[object]], numbers: Sequence[int] = ()
) -> str:
    top = ""
    if head is not None:
        top = "<tr>" + "".join(f"<th>{esc(one)}</th>" for one in head) + "</tr>"
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{' class=n' if place in numbers else ''}>{esc(_short(cell))}</td>"
            for place, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return f"<table>{top}{body}</table>"


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
