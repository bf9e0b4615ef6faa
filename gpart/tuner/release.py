"""Which releases of PEFT are taken: older ones lack what is needed, and newer ones may have changed it."""

from __future__ import annotations

import warnings

import peft
from packaging.version import Version

#: The release that the conformance tests (tests/gpart/conformance) run on.
_TESTED = (0, 21)


def check_release() -> None:
    """Refuse a release of PEFT that is too old, and warn of one that is newer than those tested.

    Called before anything of PEFT's private parts is imported, so that it is this message that is seen.

    Raises:
        ImportError: naming both releases.
    """
    tested, release = ".".join(map(str, _TESTED)), Version(peft.__version__).release[:2]
    if release < _TESTED:
        raise ImportError(f"peft: version {peft.__version__} is installed; accepted are {tested} and later")
    if release > _TESTED:
        warnings.warn(
            f"peft: version {peft.__version__} is installed; gpart is tested with {tested}.*, and what it needs of "
            "PEFT's private parts may have changed",
            stacklevel=2,
        )
