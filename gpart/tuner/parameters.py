"""Parameters that a module holds itself and reads in its own forward, as mixtures of experts hold stacked weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gpart.compute.products import Identity, Padding
from gpart.tuner.base_layers import check_parameter
from gpart.tuner.layer import GPartLayer


def check_matched(targets: Sequence[str] | None, names: Sequence[str]) -> None:
    """Refuse targets that are no parameters of the model, of which PEFT says nothing as long as others are.

    Args:
        targets: names or endings that were asked for.
        names: of what was found.

    Raises:
        ValueError: naming the first of them.
    """
    for target in targets or ():
        if not any(f".{name}".endswith(f".{target}") for name in names):
            raise ValueError(
                f"target_parameters: {target!r} is no parameter of the model; accepted are names of parameters, or "
                "what follows a dot in them"
            )


class ParamWrapper(GPartLayer):
    """Wraps a module and calls it with the effective value of one of its parameters in place of its own.

    It is exact whatever the module computes, forward and when merged. Nothing is known of that computation, so that
    autograd keeps the effective value for backward, of every wrapped parameter, where other layers make it again.

    PEFT knows such wrappers by the name of this class. They are nested where several parameters of a module are.

    Args:
        base_layer: the module, or another wrapper around it.
        theta: the vectors of all adapters; see `GPartLayer`.
        parameter_name: of the parameter in the module.
    """

    def __init__(self, base_layer: nn.Module, theta: nn.ParameterDict, parameter_name: str) -> None:
        self.parameter_name = parameter_name
        super().__init__(base_layer, theta)

    def __getattr__(self, name: str) -> Any:
        # Others read attributes of the module, such as its sizes.
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "base_layer":
                raise
            return getattr(self.base_layer, name)

    def _look_at(self, base_layer: nn.Module) -> None:
        check_parameter(self.get_base_layer(), self.parameter_name)
        self.padding, self.product = Padding(), Identity()
        self.fan_in_fan_out = self.quantised = False
        parameter, _ = self.weight_and_bias()
        self.in_features, self.out_features = parameter.shape[-1], parameter.shape[-2:][0]

    def weight_and_bias(self, dtype: torch.dtype = torch.float32) -> tuple[Tensor, None]:
        """The parameter, as stored, and no bias."""
        return getattr(self.get_base_layer(), self.parameter_name), None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module would give with the effective parameter in place of its own; arguments are the module's."""
        names = self._acting()
        if not names:
            return self.base_layer(*args, **kwargs)
        own, _ = self.weight_and_bias()
        effective = self._product(Identity(), own.detach(), own, None, self.gpart_slices, names, own.dtype)
        path, inner = self.parameter_name, self.base_layer
        while isinstance(inner, ParamWrapper):
            path, inner = f"base_layer.{path}", inner.base_layer
        return torch.func.functional_call(self.base_layer, {path: effective}, args, kwargs)

    def unload_and_optionally_merge_module(
        self, merge: bool, safe_merge: bool = False, adapter_names: list[str] | None = None
    ) -> nn.Module:
        """The module without its wrappers, of which PEFT asks the outermost, merged or not."""
        module: nn.Module = self
        while isinstance(module, ParamWrapper):
            if merge:
                module.merge(safe_merge=safe_merge, adapter_names=adapter_names)
            module = module.base_layer
        return module
