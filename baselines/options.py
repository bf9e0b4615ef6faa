"""Whether a method's options are of the types and within the ranges of its class, before anything is built.

Types are those that the class itself annotates. Ranges that PEFT finds out late, or not at all, go by the names that
its classes share.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated, Any, get_args, get_type_hints

from peft import PeftConfig
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, create_model
from pydantic_core import ErrorDetails

_SET_HERE = {
    *(field.name for field in fields(PeftConfig)),
    "modules_to_save",
    "partition",
    "megatron_config",
    "megatron_core",
}
"""Options that say nothing of a method: the suite sets them, a checkpoint does, or they name code from elsewhere."""

_LARGEST = 1e30


@dataclass(frozen=True)
class _Limit:
    """The least and the most of the numbers that options of some names may be."""

    names: str
    least: float
    most: float
    words: str

    def checked(self, value: Any) -> Any:
        """The value.

        Raises:
            ValueError: if it is a number outside, in the words of what is accepted.
        """
        if isinstance(value, int | float) and not isinstance(value, bool) and not self.least <= value <= self.most:
            raise ValueError(self.words)
        return value


_LIMITS = (
    _Limit("r|rank|init_r|target_r|subspace_rank", 1, 2**16, "an integer from 1 to 65536"),
    _Limit("theta_d_length", 1, 2**24, "an integer from 1 to 16777216"),
    _Limit(".*dropout", 0, math.nextafter(1, 0), "a number of at least 0 and below 1"),
    _Limit(".*seed|.*_key", 0, 2**63 - 1, "an integer from 0 to 9223372036854775807"),
    _Limit(".*alpha", math.ulp(0), _LARGEST, "a number above 0, at most 1e30"),
    _Limit(".*", -_LARGEST, _LARGEST, "a number from -1e30 to 1e30"),
)
"""The first one counts whose names match. Ranks beyond the widest layers, and vectors beyond what they hold, are slips
that would fill the memory."""

_RANK, *_, _ALPHA, _ANY = _LIMITS
_PATTERNS: Mapping[str, Any] = {
    "rank_pattern": dict[str, Annotated[int, AfterValidator(_RANK.checked)] | list[bool]] | None,
    "alpha_pattern": dict[str, Annotated[float, AfterValidator(_ALPHA.checked)]] | None,
}
"""What PEFT's classes annotate as a mapping and no more."""


def value_errors(kind: type, options: Mapping[str, object]) -> list[str]:
    """One line for each option whose value is not one that its class accepts.

    Args:
        kind: the class.
        options: its arguments, as JSON has them; what it does not annotate is not looked at.
    """
    hints = _hints(kind)
    known = {name: value for name, value in options.items() if name in hints and not _is_default(kind, name, value)}
    own = [name for name in known if name in _SET_HERE]
    lines = [f"{told(name, known[name])}: not an option of the method; accepted: none" for name in own]
    checked = {name: value for name, value in known.items() if name not in own}
    try:
        _model(hints, list(checked)).model_validate_json(json.dumps({f"o{k}": v for k, v in checked.items()}))
    except ValidationError as error:
        lines += _lines(error.errors(include_url=False), checked)
    return lines


def refusal(values: Mapping[str, object], error: Exception) -> str:
    """What a class, or PEFT, refuses of the options that it was given, in a line.

    Args:
        values: of the options, by name.
        error: what was raised.
    """
    text = " ".join(str(error).split())
    marks = [r"^{}: |`{}`|\b{}=", r"\b{}\b"]
    found = (name for mark in marks for name in values if re.search(mark.replace("{}", re.escape(name)), text))
    if (name := next(found, None)) is None:
        return f"method.config: {text}; accepted: options that go together, and with the backbone"
    reason = text.removeprefix(f"{name}: ").removeprefix(repr(values[name])).lstrip(" ;")
    if "accepted" not in reason:
        return f"{told(name, values[name])}: {reason}; accepted: another value"
    reason = re.sub("accepted (are |is )?", "accepted: ", reason, count=1)
    return f"{told(name, values[name])}: {'not accepted; ' * reason.startswith('accepted')}{reason}"


def told(name: str, value: object) -> str:
    """An option as it is typed on the command line."""
    plain = isinstance(value, str | float) and not isinstance(value, bool)
    if isinstance(value, set):
        value = sorted(value)
    return f"method.config.{name}={value if plain else json.dumps(value, default=str)}"


def _is_default(kind: type, name: str, value: object) -> bool:
    default = getattr(kind, name, None)
    return type(value) is type(default) and value == default


def _hints(kind: type) -> dict[str, Any]:
    try:
        return get_type_hints(kind)
    except NameError:  # a class that names types for type checkers alone
        return {}


def _model(hints: Mapping[str, Any], names: list[str]) -> type[BaseModel]:
    config = ConfigDict(
        strict=True, allow_inf_nan=False, arbitrary_types_allowed=True, protected_namespaces=(), extra="ignore"
    )
    # The names stand behind a letter, as some are those of pydantic's own methods.
    given: dict[str, Any] = {f"o{name}": (_sharpened(name, hints[name]), None) for name in names}
    return create_model("Options", __config__=config, **given)


def _sharpened(name: str, hint: Any) -> Any:
    """The type of an option with what is known of others of its name."""
    limit = next(limit for limit in _LIMITS if re.fullmatch(limit.names, name))
    kinds = [kind for kind in (hint, *get_args(hint)) if is_dataclass(kind)]
    if kinds and dict not in get_args(hint):
        return Annotated[Any, AfterValidator(_absent)]  # an object, which no text can be
    checks = [limit.checked, *([_pattern] if name in ("target_modules", "exclude_modules") else [])]
    return Annotated[_PATTERNS.get(name, hint), *map(AfterValidator, checks)]


def _absent(value: object) -> object:
    if value is not None:
        raise ValueError("null")
    return value


def _pattern(value: Any) -> Any:
    try:
        re.compile(value if isinstance(value, str) else "")
    except re.error as error:
        raise ValueError(f"a regular expression ({error})") from error
    return value


def _lines(details: list[ErrorDetails], values: Mapping[str, object]) -> list[str]:
    """A line for each option, of which a union of types has an error for each of them."""
    words: dict[str, list[str]] = {}
    for detail in details:
        name = str(detail["loc"][0])[1:]
        if not _is_numbered(detail, values[name]):
            said = re.sub("^(Input should be|Value error,) ", "", detail["msg"])
            words.setdefault(name, []).append(said)
        else:
            words[name] = []
            break
    return [
        f"{told(name, values[name])}: not accepted; accepted: {', or '.join(dict.fromkeys(accepted))}"
        for name, accepted in words.items()
        if accepted
    ]


def _is_numbered(detail: ErrorDetails, value: object) -> bool:
    """Whether a text is one of those that PEFT writes as `pissa_niter_[number of iters]`."""
    expected = str(detail.get("ctx", {}).get("expected", ""))
    return isinstance(value, str) and re.sub(r"\d+$", "[number of iters]", value) + "'" in expected and "[" in expected
