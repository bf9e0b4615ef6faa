"""The commit that a result comes from: of this checkout, or of the one that this is a copy of."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE = (
    *("gpart", "baselines", "schema", "conf", "experiments", "hydra_plugins"),
    *("run.py", "pyproject.toml", "constraints.txt"),
)
"""What can change a result; records and drawings that lie in the checkout cannot."""
SUBMITTED = "submitted.json"
"""The file of a copy (experiments/sweep/snapshot.py) that holds the state of its checkout."""


def git_state() -> tuple[str | None, bool | None]:
    """The commit of this checkout and whether its code differs from it; (None, None) outside a checkout.

    Of a copy of the code, the state of the checkout when it was copied.
    """
    submitted = ROOT / SUBMITTED
    if submitted.is_file():
        state = json.loads(submitted.read_text(encoding="utf-8"))
        return state["git_sha"], state["git_dirty"]
    try:
        return git("rev-parse", "HEAD").strip(), bool(git("status", "--porcelain", "--", *CODE).strip())
    except (OSError, subprocess.CalledProcessError):
        return None, None


def git(*arguments: str) -> str:
    """What git prints about this checkout.

    Raises:
        OSError: if there is no git.
        CalledProcessError: if git refuses.
    """
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
