"""What proves that a record.json is as it was written: a line with the digest of all its other lines.

`grep -v '^ "digest": ' record.json | sha256sum` gives the same.
"""

from __future__ import annotations

import re
from hashlib import sha256

_LINE = re.compile(rb'^ "digest": .*\n', re.MULTILINE)  # only keys of the outermost object stand one space in


def sealed(text: str) -> str:
    """The text of a record with its digest in place of the null that stands there."""
    return text.replace('\n "digest": null,\n', f'\n "digest": "{digest(text.encode())}",\n', 1)


def digest(data: bytes) -> str:
    """sha256 of a record, as it lies on disk, without the line of its digest."""
    return sha256(_LINE.sub(b"", data, count=1)).hexdigest()
