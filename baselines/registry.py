"""The one call that applies any method."""

from __future__ import annotations

from collections.abc import Sequence

from peft import PeftConfig
from torch import nn

from baselines.adapted import Adapted
from baselines.errors import MethodError
from baselines.injection import InjectedAdapter
from baselines.selection import SelectedParameters, TrainableSelection


def adapt(model: nn.Module, config: PeftConfig | TrainableSelection, *, head: Sequence[str], init_seed: int) -> Adapted:
    """Make exactly the method's parameters and the head of `model` trainable, in place.

    Works on the meta device too, where it counts parameters without any memory.

    Args:
        model: a backbone whose head is already initialised; the head keeps its values.
        config: what `method_config` makes of a method's `config`; it is not changed.
        head: names of the modules that make up the head; a name stands for every module that ends in it.
        init_seed: seed of the method's random trainable initial values. The global generator is left as it was.

    Raises:
        ValueError: naming the key, its value and what would be accepted.
    """
    if isinstance(config, PeftConfig):
        return InjectedAdapter.inject(model, config, head=head, init_seed=init_seed)
    if isinstance(config, TrainableSelection):
        return SelectedParameters.select(model, config, head)
    raise MethodError(
        f"method.config: {config!r} is not a method's configuration; accepted: a peft.PeftConfig, or "
        "an object with selects(parameter_name), such as baselines.FullFineTuning"
    )
