"""Where a backbone's configuration and weights are, for all families: the hub, a folder, or the suite itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, PretrainedConfig
from transformers.utils import logging as transformers_logging

from experiments import embedded
from experiments.configuration.digests import file_digest
from experiments.data import hub

Backbone = Mapping[str, Any]


def reference(backbone: Backbone) -> dict[str, Any]:
    """What the weights are, for a run's identity.

    Returns:
        hub: name and revision; local: sha256 of the weight files; embedded: the hash of the pretraining recipe.
    """
    if backbone["source"] == "hub":
        return {"hub": backbone["hub"], "revision": backbone["revision"]}
    if backbone["source"] == "embedded":
        return {"pretraining": embedded.recipe_hash(backbone["name"])}
    return {"sha256": {path.name: file_digest(path) for path in _weight_files(Path(backbone["path"]))}}


def check(backbone: Backbone) -> list[str]:
    """One line for everything about a local folder that would make loading fail; reads no weights."""
    if backbone["source"] != "local":
        return []
    if backbone.get("family") == "vision":
        from experiments.families.vision import backbones as vision

        return vision.check(backbone)
    folder = Path(backbone["path"])
    accepted = "accepted: a folder with config.json, tokenizer files and *.safetensors weights"
    if not folder.is_dir():
        return [f"backbone.path={folder}: no such folder; {accepted}"]
    errors = []
    if not (folder / "config.json").is_file():
        errors.append(f"backbone.path={folder}: no config.json in it; {accepted}")
    if not list(folder.glob("tokenizer*")):
        errors.append(f"backbone.path={folder}: no tokenizer files in it; {accepted}")
    weights = _weight_files(folder)
    if not weights:
        errors.append(f"backbone.path={folder}: no weights in it; {accepted}")
    for path in weights:
        try:
            with safe_open(path, "pt"):
                pass
        except (SafetensorError, OSError) as error:
            errors.append(f"backbone.path={folder}: {path.name} is damaged ({error}); {accepted}")
    return errors


_POSITIONS_AFTER_PADDING = ("roberta", "xlm-roberta", "camembert")
"""Models that count positions from the padding's id on, and so have fewer than their table."""


def _weight_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def location(backbone: Backbone) -> tuple[str, dict[str, Any]]:
    """What `from_pretrained` is called with: a folder, whose files are fetched first where they are the hub's.

    By its folder: by its name transformers would ask the hub even for what is cached.

    Raises:
        SpecError: if the hub does not hand the files over.
    """
    if backbone["source"] == "embedded":
        return str(embedded.folder(backbone["name"])), {}
    if backbone["source"] == "local":
        return str(backbone["path"]), {}
    return str(hub_folder(hub.model(backbone))), {}


def hub_folder(requirement: hub.Requirement) -> Path:
    """The folder of what is required of the hub, at the commit that its revision is at.

    Raises:
        SpecError: if the hub does not hand the files over.
    """
    return hub.folder(requirement, hub.resolve(requirement).commit)


def config(backbone: Backbone) -> PretrainedConfig:
    """The architecture's configuration: from the folder, from the YAML, or else from the hub.

    Raises:
        SpecError: if the hub does not hand it over.
    """
    if backbone["source"] == "local":
        return AutoConfig.from_pretrained(backbone["path"])
    if backbone["architecture"]:
        return AutoConfig.for_model(**backbone["architecture"])
    if backbone["source"] == "hub":
        return AutoConfig.from_pretrained(hub_folder(hub.configuration(backbone)))
    return AutoConfig.from_pretrained(location(backbone)[0])


def require_positions(found: PretrainedConfig, max_length: int) -> None:
    """Refuse a length of sequence that the model has no positions for.

    Raises:
        ValueError: naming key, value and the most that is accepted.
    """
    positions = getattr(found, "max_position_embeddings", None)
    if positions and found.model_type in _POSITIONS_AFTER_PADDING:
        positions -= found.pad_token_id + 1
    if positions and max_length > positions:
        raise ValueError(
            f"backbone.max_length={max_length}: the model has {positions} positions; accepted: that or less"
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the report that the head is new and the pretraining head unused: both are meant."""
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
