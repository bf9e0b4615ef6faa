"""What is known about a run before it costs anything: reachable sources, shapes, counts, identity.

`reachable` imports neither torch nor transformers; `prepare` builds the model on the meta device, so a wrong target
module or a d that is too large is refused before a weight or a data row is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from experiments.configuration.identity import cell_key, run_id
from experiments.data import hub
from experiments.errors import SpecError
from schema.run import RunSpec


@dataclass(frozen=True)
class Prepared:
    """A run that has passed every check: its identity, cell key and sizes."""

    spec: RunSpec
    identity: str
    key: dict[str, str]
    sizes: dict[str, int]
    data_reference: dict[str, Any]
    backbone_reference: dict[str, Any]


def reachable(spec: RunSpec) -> None:
    """Refuse a run whose data or weights are neither cached nor to be had.

    Raises:
        SpecError: what is missing, gated or out of reach, and the ways on.
    """
    if spec["plan"]:
        return
    from experiments.data import sources

    parts = sources.sections(spec["task"]) if spec["data"]["source"] == "hub" else []
    needed = [requirement for part in parts if part["hub"]["path"] for requirement in hub.dataset(part)]
    needed += [hub.model(spec.backbone)] if spec["backbone"]["source"] == "hub" else []
    resolved = hub.resolve_all(needed, spec["hub_timeout"])
    for note in dict.fromkeys(found.note for found in resolved if found.note):
        print(f"note: {note}")


def prepare(spec: RunSpec) -> Prepared:
    """Check data schema, backbone folder and method against each other, and name the run.

    Raises:
        SpecError: every fault found, one line each.
    """
    from experiments import families
    from experiments.data import sources
    from experiments.data.weights import weights_of

    spec["task"]["classes"] = sources.classes(spec["task"], spec["data"])
    weights = weights_of(spec.backbone, timeout=spec.hub_timeout)
    family = families.family_of(spec, weights, spec["task"]["classes"])
    errors = [] if spec["plan"] else [*sources.check(spec["task"], spec["data"]), *weights.errors()]
    errors += family.check()
    errors += [] if spec["plan"] else _precision_errors(spec)
    sizes: dict[str, int] = {}
    if not any(error.startswith("backbone.") for error in errors):
        try:
            sizes = model_sizes(adapted(spec, family.meta()))
        except SpecError as error:
            errors += error.errors
        except (ValueError, TypeError) as error:
            errors.append(" ".join(str(error).split()))
    if errors:
        raise SpecError(errors)
    data_reference = {} if spec["plan"] else sources.reference(spec["task"], spec["data"])
    backbone_reference = {} if spec["plan"] else weights.reference()
    subset = sources.subset_name(spec["task"], spec["data"], spec["seeds"])
    return Prepared(
        spec,
        run_id(spec, data_reference, backbone_reference),
        cell_key(spec, subset),
        sizes,
        data_reference,
        backbone_reference,
    )


def _precision_errors(spec: RunSpec) -> list[str]:
    import torch

    if spec["recipe"]["precision"] != "float16" or torch.accelerator.is_available():
        return []
    return ["recipe.precision=float16: there is no accelerator here; accepted: bfloat16 or float32"]


def adapted(spec: RunSpec, model: Any) -> Any:
    """The method of a run applied to a backbone (`baselines.Adapted`).

    Raises:
        ValueError: if the method's configuration is not accepted, or does not fit the backbone.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    import baselines

    try:
        config = instantiate(spec["method"]["config"], _convert_="all")
    except InstantiationException as error:
        raise ValueError(f"method.config: {error.__cause__ or error}") from error
    return baselines.adapt(model, config, head=spec["backbone"]["head"], init_seed=spec["seeds"]["init"])


def model_sizes(adapted_model: Any) -> dict[str, int]:
    """Sizes of an adapted model (`baselines.Adapted`), on the meta device too.

    Returns:
        trainable, theta (trainable values outside the head), head, adapted_weights (entries of the weights that the
        method may change), total parameters, and dead_coordinates.
    """
    head = sum(parameter.numel() for _, parameter in adapted_model.head_parameters())
    return {
        "trainable": adapted_model.theta + head,
        "theta": adapted_model.theta,
        "head": head,
        "adapted_weights": adapted_model.adapted_weights,
        "total": adapted_model.total,
        "dead_coordinates": adapted_model.dead_coordinates,
    }
