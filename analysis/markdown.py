"""Text from outside in Markdown, where names of methods, tasks and errors may hold anything."""

from __future__ import annotations

import re

from schema.text import one_line

_ACTIVE = re.compile(
    r"[\\`|*~]"  # code, cells, emphasis
    r"|<(?=[A-Za-z/!?])"  # HTML and links
    r"|&(?=#?\w+;)"  # entities
    r"|(?<=\])[(\[:]"  # links and images
    r"|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"  # emphasis; within a word it is none
    r"|^[#>]"  # headings, quotations
)
_LONGEST = 2000


def escaped(text: str) -> str:
    """The text in one line that GitHub-flavoured Markdown shows as it stands."""
    return _ACTIVE.sub(r"\\\g<0>", one_line(text, _LONGEST))
