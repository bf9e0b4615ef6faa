"""What is raised on purpose."""

from __future__ import annotations


class MethodError(ValueError):
    """A method's configuration that is not accepted, or that does not fit the backbone; the message names the key."""
