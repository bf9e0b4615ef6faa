"""What all parts of a record have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError

from schema.validation import shown


class Part(BaseModel):
    """A part of a record: every key is always there, and null where nothing was measured."""

    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=(), populate_by_name=True)


def first_error(error: ValidationError) -> str:
    """The first of a model's errors in one line: key, value, and what would be accepted."""
    detail = error.errors(include_url=False)[0]
    key = ".".join(map(str, detail["loc"])) or "content"
    if detail["type"] == "missing":
        return f"{key}: missing; accepted: a record with every key"
    if detail["type"] == "extra_forbidden":
        return f"{key}: unknown key; accepted: the keys of docs/RECORD.md"
    accepted = detail["msg"].removeprefix("Input should be ")
    return f"{key}={shown(detail['input'])[:80]}: not accepted; accepted: {accepted[:1].lower()}{accepted[1:]}"
