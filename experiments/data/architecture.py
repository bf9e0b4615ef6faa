"""A model's configuration of transformers: what config.json says, and `backbone.architecture` over it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from transformers import AutoConfig, PretrainedConfig

from experiments.data.requirements import CONFIGURATION
from experiments.errors import SpecError
from schema.sections import Backbone
from schema.validation import nearest, shown

_SIZES = (
    *(
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
    ),
    *("vocab_size", "max_position_embeddings", "image_size", "patch_size", "num_channels"),
)
"""Keys by the names that transformers' classes have in common."""
_MOST = {"num_hidden_layers": 2000}
"""Layers are built one by one, even without memory: more would take minutes before anything is said."""


def over(folder: Path, backbone: Backbone, key: str) -> PretrainedConfig:
    """The configuration of a folder's config.json with the keys of `backbone.architecture` over it.

    What neither says is the class's default.

    Args:
        folder: of config.json.
        backbone: of the run.
        key: the setting that asks for the folder, with its value.

    Raises:
        SpecError: if config.json or a key is not accepted, or the architecture is of another type of model.
    """
    if not (folder / CONFIGURATION).is_file():
        raise SpecError([f"{key}: no {CONFIGURATION} in it; accepted: a folder with one"])
    stored = _made(
        lambda: AutoConfig.from_pretrained(folder, trust_remote_code=False),
        f"{key}: {CONFIGURATION}",
        "one that transformers reads",
    )
    given = dict(backbone.architecture or {})
    wanted = given.pop("model_type", stored.model_type)
    if wanted != stored.model_type:
        raise SpecError(
            [
                f"backbone.architecture.model_type={wanted}: {CONFIGURATION} of {key} says {stored.model_type}; "
                f"accepted: {stored.model_type}"
            ]
        )
    if not given:
        return _sized(stored, f"{key}: {CONFIGURATION}: ")
    _require_known(given, stored)
    values, _ = PretrainedConfig.get_config_dict(folder)
    made = _made(lambda: type(stored).from_dict({**values, **given}), _shown(given), "what transformers reads")
    return _sized(made, "backbone.architecture.")


def alone(backbone: Backbone, key: str) -> PretrainedConfig:
    """The configuration that `backbone.architecture` describes: enough for shapes, before anything is downloaded.

    Args:
        backbone: of the run; with an architecture.
        key: the setting that asks for the weights, with its value.

    Raises:
        SpecError: if a key is not accepted, or the type of model is missing.
    """
    given = dict(backbone.architecture or {})
    model_type = given.pop("model_type", None)
    if not isinstance(model_type, str):
        raise SpecError([f"backbone.architecture.model_type=null: missing for {key}; accepted: a type of transformers"])
    what = f"backbone.architecture.model_type={model_type}"
    _require_known(given, _made(lambda: AutoConfig.for_model(model_type), what, "a type of transformers"))
    made = _made(lambda: AutoConfig.for_model(model_type, **given), _shown(given), "what transformers reads")
    return _sized(made, "backbone.architecture.")


def _sized(config: PretrainedConfig, prefix: str) -> PretrainedConfig:
    """The configuration, which transformers takes with sizes that no model has.

    Raises:
        SpecError: one line for each of them; `prefix` comes before its name.
    """
    values = {name: getattr(config, name, None) for name in _SIZES}
    parts = {name: value if isinstance(value, list | tuple) else [value] for name, value in values.items()}
    wrong = [name for name, found in parts.items() if not all(part is None or _is_size(name, part) for part in found)]
    if wrong:
        raise SpecError(
            f"{prefix}{name}={shown(values[name])}: no size; accepted: an integer of at least 1"
            + (f" and at most {_MOST[name]}" if name in _MOST else "")
            for name in wrong
        )
    return config


def _is_size(name: str, value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST.get(name, value)


def _require_known(given: Iterable[str], config: PretrainedConfig) -> None:
    """Refuse keys that nothing would read: transformers keeps them without a word.

    Raises:
        SpecError: one line for each.
    """
    known = {*config.to_dict(), *config.attribute_map}
    unknown = [name for name in given if name not in known and not hasattr(config, name)]
    if unknown:
        raise SpecError(
            f"backbone.architecture.{name}: no key of a {config.model_type} model"
            f"{nearest(name, known, 'backbone.architecture.')}; accepted: the keys of its config.json"
            for name in unknown
        )


def _made(make: Callable[[], PretrainedConfig], what: str, accepted: str) -> PretrainedConfig:
    try:
        return make()
    except Exception as error:  # each class checks its values in its own way
        why = " ".join(str(error).split()) or type(error).__name__
        raise SpecError([f"{what}: not accepted ({why}); accepted: {accepted}"]) from error


def _shown(given: Mapping[str, object]) -> str:
    return "backbone.architecture={" + ", ".join(f"{name}: {value}" for name, value in given.items()) + "}"
