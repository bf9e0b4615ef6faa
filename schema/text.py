"""Text from outside, such as names in a record, made fit to be shown."""

from __future__ import annotations


def one_line(text: object, most: int = 500) -> str:
    """A text without line breaks, and without what a terminal would obey or nothing would show.

    Args:
        text: is shown as `str` gives it.
        most: characters that are left of a longer one: its begin, and its end, which says what would be accepted.
    """
    line = str(text)
    if len(line) > most:
        line = f"{line[: most - 3 - most // 3]}...{line[-(most // 3) :]}"
    if line.isprintable():
        return line
    words = " ".join(line.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in words)
