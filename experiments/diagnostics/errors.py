"""What a diagnostic raises on purpose."""

from __future__ import annotations


class NotApplicableError(ValueError):
    """What is measured does not exist for the method; the message says why."""
