"""The page that plays what was evaluated: one HTML file beside the sounds, without a script. Pure.

Names and queries come from files of anybody, so every text is escaped, and the page forbids itself
to load anything but the sounds beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from urllib.parse import quote

_STYLE = """
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1.2em}
h1{font-size:1.5em;margin-bottom:.2em}p{margin-top:0;opacity:.75}
article{border-top:1px solid #8886;padding:.9em 0;display:grid;gap:.5em 1.2em;
grid-template-columns:repeat(3,minmax(0,1fr))}
header{grid-column:1/-1;display:flex;flex-wrap:wrap;gap:.1em 1.2em;align-items:baseline}
header b{font-size:1.1em}header span{opacity:.75;overflow-wrap:anywhere}
figure{margin:0}figcaption{font-size:.85em;opacity:.75}audio{width:100%}
@media(max-width:700px){article{grid-template-columns:1fr}}
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; media-src 'self' file:"
_SCORES = (
    ("sdri", "SDRi", "dB"),
    ("si_sdri", "SI-SDRi", "dB"),
    ("clap_score", "CLAPScore", ""),
)


def listening_page(title: str, rows: Sequence[Mapping[str, object]], parts: Sequence[str]) -> str:
    """The page.

    Args:
        title: What was measured.
        rows: One a mixture, in the order to show them: what the results say, and for every part
            its file beside the page, as `PART_file`.
        parts: What there is to hear of each mixture.
    """
    shown = "\n".join(_mixture(place, row, parts) for place, row in enumerate(rows, 1))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style></head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n<p>{len(rows)} mixtures; their numbers are those of the "
        f"results, and index.csv holds all columns.</p>\n{shown}\n</body></html>\n"
    )


def _mixture(place: int, row: Mapping[str, object], parts: Sequence[str]) -> str:
    facts = [f"mixture {row['mixture']}"]
    facts += [
        f"{title} {float(str(row[name])):.2f} {unit}".rstrip()
        for name, title, unit in _SCORES
        if name in row
    ]
    facts += [f"{name}: {row[name]}" for name in ("target", "interferer") if row.get(name)]
    about = "".join(f"<span>{escape(fact)}</span>" for fact in facts)
    players = "".join(
        f"<figure><figcaption>{escape(part)}</figcaption>"
        f'<audio controls preload="metadata" src="{quote(str(row[f"{part}_file"]))}"></audio>'
        "</figure>"
        for part in parts
    )
    query = escape(str(row["query"]))
    return f"<article><header><b>{place}. “{query}”</b>{about}</header>{players}</article>"
