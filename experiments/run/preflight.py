"""What is known about a run before it costs anything: reachable sources, identity, shapes, counts.

`reachable` imports neither torch nor transformers. `prepare` names the run; `sizes` builds the model on the meta
device, so a wrong target module or a d that is too large is refused before a weight or a data row is read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from experiments.configuration.identity import cell_key
from experiments.data import hub, sources
from experiments.errors import SpecError
from experiments.records import outputs
from experiments.run import processes
from schema.identity import covered, run_id
from schema.key import Key
from schema.plan import Plan
from schema.record import Identity, Sizes
from schema.run import RunSpec

if TYPE_CHECKING:
    from torch import nn

    from baselines import Adapted
    from experiments.data.weights import Weights
    from experiments.families.family import Family


@dataclass(frozen=True)
class Prepared:
    """A run with its data and its weights, found and named, and nothing read of them.

    Attributes:
        spec: the run.
        source: of its rows.
        weights: of its backbone.
        key: of its cell.
        identity: what its id is the hash of; empty for a plan, which asks no folder and no hub.
    """

    spec: RunSpec
    source: sources.Source
    weights: Weights
    key: Key
    identity: Identity

    @property
    def id(self) -> str:
        """The run's identity."""
        return run_id(self.identity.hashed)

    @property
    def family(self) -> Family:
        """The family of its task."""
        from experiments import families

        return families.family_of(self.spec, self.weights, self.source.classes)

    def plan(self, spec: RunSpec) -> Plan:
        """What is handed to the process of the run; `spec` may ask for more diagnostics than its own."""
        return Plan(id=self.id, identity=self.identity, key=self.key, config=spec.model_dump(mode="json"))


def reachable(spec: RunSpec, here: bool = True) -> list[str]:
    """Refuse a run whose data or weights are neither cached nor to be had, that could not be recorded or started.

    Args:
        spec: the run.
        here: whether it will be carried out on this machine.

    Returns:
        what has to be said of where they come from.

    Raises:
        SpecError: what is missing, gated or out of reach, and the ways on.
    """
    if spec.plan:
        return []
    if errors := outputs.errors(spec.outputs) + (_thread_errors(spec.threads) if here else []):
        raise SpecError(errors)
    resolved = hub.resolve_all(_required(spec), spec.hub_timeout)
    return list(dict.fromkeys(found.note for found in resolved if found.note))


def _thread_errors(threads: int | None) -> list[str]:
    """More threads than the machine has cores: they get in each other's way, and far more of them end the process."""
    cores = os.cpu_count() or 1
    if threads is None or threads <= cores:
        return []
    return [f"threads={threads}: this machine has {cores} cores; accepted: an integer from 1 to {cores}, or null"]


def fetch(spec: RunSpec) -> None:
    """Download what a run needs from the hub, so that what breaks off leaves nothing behind; what is cached is kept.

    Raises:
        SpecError: if the hub does not hand it over whole.
    """
    for requirement in _required(spec):
        hub.folder(requirement, hub.resolve(requirement, spec.hub_timeout).commit)


def _required(spec: RunSpec) -> list[hub.Requirement]:
    needed = sources.source_of(spec.task, spec.data, timeout=spec.hub_timeout).requirements
    return [*needed, hub.model(spec.backbone)] if spec.backbone.source == "hub" else needed


def prepare(spec: RunSpec, references: Mapping[str, Any] | None = None) -> Prepared:
    """Find data and weights, and name the run.

    Args:
        spec: the run.
        references: `data_reference` and `backbone_reference` of a plan or a record, which fix the hub's commits.

    Raises:
        SpecError: every fault found, one line each.
    """
    from experiments.data import weights

    known = references or {}
    source = sources.source_of(spec.task, spec.data, timeout=spec.hub_timeout, reference=known.get("data_reference"))
    backbone = weights.weights_of(spec.backbone, timeout=spec.hub_timeout, reference=known.get("backbone_reference"))
    key = cell_key(spec, sources.subset_name(source, spec))
    if spec.plan:
        return Prepared(spec, source, backbone, key, Identity())
    errors = source.errors() + backbone.errors()
    if errors:
        misfits, _ = _fit(Prepared(spec, source, backbone, key, Identity()), here=True)
        raise SpecError(dict.fromkeys(errors + misfits))
    return Prepared(
        spec, source, backbone, key, Identity(hashed=covered(spec, source.reference(), backbone.reference()))
    )


def sizes(prepared: Prepared, here: bool = True) -> Sizes:
    """Sizes of the adapted model, counted on the meta device.

    Args:
        prepared: the run.
        here: whether it will be carried out on this machine.

    Raises:
        SpecError: every setting that does not fit the backbone or the machine, naming key and value.
    """
    errors, counted = _fit(prepared, here)
    if errors:
        raise SpecError(errors)
    return counted


def _fit(prepared: Prepared, here: bool) -> tuple[list[str], Sizes]:
    """Every line that `sizes` refuses a run with, or else the counts; none for a method that looks at the weights."""
    import baselines
    from experiments.run import devices

    errors = (
        (_precision_errors(prepared.spec) if here else [])
        + processes.errors(prepared.spec)
        + baselines.config_errors(prepared.spec.method.config)
    )
    try:
        errors += prepared.family.check()
        return errors, Sizes() if errors else model_sizes(adapted(prepared.spec, prepared.family.meta()))
    except SpecError as error:
        errors += error.errors
    except baselines.MethodError as error:  # of the modules that train anew, looked up in the backbone's model
        errors.append(" ".join(str(error).split()))
    except NotImplementedError as error:
        if "meta" not in str(error):
            raise
    except RuntimeError as error:
        if not devices.is_out_of_memory(error):
            raise
        why = " ".join(str(error).split())
        errors.append(f"method.config: what it adds does not fit the memory here ({why}); accepted: smaller values")
    return errors, Sizes()


def _precision_errors(spec: RunSpec) -> list[str]:
    import torch

    if spec.plan or spec.recipe.precision != "float16" or torch.accelerator.is_available():
        return []
    return ["recipe.precision=float16: there is no accelerator here; accepted: bfloat16 or float32"]


def adapted(spec: RunSpec, model: nn.Module) -> Adapted:
    """The method of a run applied to a backbone.

    Raises:
        SpecError: if the method's configuration is not accepted, or does not fit the backbone.
    """
    import baselines

    try:
        config = baselines.method_config(spec.method.config)
        return baselines.adapt(model, config, head=spec.backbone.head, init_seed=spec.seeds.init)
    except baselines.MethodError as error:
        raise SpecError([" ".join(str(error).split())]) from error


def model_sizes(adapted_model: Adapted) -> Sizes:
    """The parameter counts of an adapted model."""
    head = sum(parameter.numel() for _, parameter in adapted_model.head_parameters())
    return Sizes(
        trainable=adapted_model.theta + head,
        theta=adapted_model.theta,
        head=head,
        adapted_weights=adapted_model.adapted_weights,
        total=adapted_model.total,
        dead_coordinates=adapted_model.dead_coordinates,
    )
