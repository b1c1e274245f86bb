"""Text of others, made fit for a terminal.

A caption or an answer may hold any character at all, escape sequences included: printed raw, these
move the cursor, change the window's title, or write to the clipboard. What is not printable is
shown as Python spells it; the files keep it as it came.
"""

from __future__ import annotations


def printable(text: str, *, lines: bool = False) -> str:
    """Return `text` with every character that a terminal might act on spelled out.

    These are control characters (C0, DEL, C1), line and paragraph separators, and the characters
    of category Cf, which turn the writing direction or cannot be seen, and halves of surrogate
    pairs.

    Args:
        text: Anything.
        lines: Leave tabs and ends of lines as they are, for a text of several lines.
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or (lines and one in "\n\t") else _spelled(one) for one in text
    )


def _spelled(character: str) -> str:
    return repr(character)[1:-1]
