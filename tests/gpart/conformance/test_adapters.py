"""Several adapters in one model: which of them act, which train, and what is left when one is deleted or refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import PeftModel, get_layer_status, get_model_status, get_peft_model
from torch import nn

from gpart import GPartConfig
from tests.gpart.conformance.models import (
    EACH_MODEL,
    EACH_TRANSFORMER,
    EACH_VARIANT,
    MODELS,
    D,
    Model,
    bits,
    layers,
    randomise,
    same_bits,
    theta,
    tuner,
)

MLP = MODELS[0]


def with_second(model: Model, **changes: Any) -> PeftModel:
    """A model with a second adapter of other values, of which the first alone is active."""
    adapted = model.adapted()
    adapted.add_adapter("other", model.config(**{"d": 11, "seed": 9, **changes}))
    randomise(adapted, "other", seed=8)
    return adapted


def trainable(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@EACH_MODEL
def test_adding_and_choosing_an_adapter(model: Model) -> None:
    adapted = with_second(model)
    first = model.output(adapted)
    assert torch.equal(first, model.output(model.adapted()))
    assert adapted.active_adapter == "default"
    assert trainable(adapted) == {"base_model.gpart_theta.default"}
    adapted.set_adapter("other")
    assert adapted.active_adapters == ["other"]
    assert trainable(adapted) == {"base_model.gpart_theta.other"}
    assert not torch.equal(model.output(adapted), first)
    adapted.set_adapter("default")
    assert torch.equal(model.output(adapted), first)
    adapted.set_adapter("other", inference_mode=True)
    assert not trainable(adapted)


@EACH_VARIANT
def test_several_active_adapters_add_up(model: Model, variant: dict[str, Any]) -> None:
    adapted = with_second(model, **variant)
    adapted.base_model.set_adapter(["default", "other"])
    assert adapted.active_adapters == ["default", "other"]
    base = model.new()
    for name in ("default", "other"):
        change, start = tuner(adapted).partition(name).project(theta(adapted, name).detach()), 0
        for layer in tuner(adapted).partition(name).layers:
            for kind in ("weight", "bias") if layer.bias else ("weight",):
                tensor = base.get_parameter(f"{layer.name}.{kind}")
                tensor.data += change[start : start + tensor.numel()].view(tensor.shape)
                start += tensor.numel()
    torch.testing.assert_close(model.output(adapted), model.output(base), rtol=1e-5, atol=1e-6)


@EACH_MODEL
def test_several_active_adapters_train_together(model: Model) -> None:
    adapted = with_second(model)
    adapted.base_model.set_adapter(["default", "other"])
    assert trainable(adapted) == {"base_model.gpart_theta.default", "base_model.gpart_theta.other"}
    model.output(adapted).square().sum().backward()
    for name in ("default", "other"):
        assert theta(adapted, name).grad.abs().min() > 0


@EACH_MODEL
def test_the_same_adapter_twice_is_twice_the_change(model: Model) -> None:
    adapted = model.adapted()
    adapted.add_adapter("other", model.config())
    randomise(adapted, "other")
    adapted.base_model.set_adapter(["default", "other"])
    both = model.output(adapted)
    adapted.delete_adapter("other")
    with torch.no_grad():
        theta(adapted).mul_(2)
    torch.testing.assert_close(both, model.output(adapted), rtol=1e-5, atol=1e-6)


@EACH_TRANSFORMER
@pytest.mark.parametrize("switch", ["model", "tuner"])
def test_adapters_may_have_different_targets(model: Model, switch: str) -> None:
    blocks = [name for name, _ in model.new().named_modules() if name.endswith(model.targets)]
    adapted = get_peft_model(model.new(), GPartConfig(d=D, target_modules=blocks[:1])).eval()
    randomise(adapted)
    first = model.output(adapted)
    adapted.add_adapter("other", GPartConfig(d=D, target_modules=blocks))
    randomise(adapted, "other", seed=8)
    assert torch.equal(model.output(adapted), first)
    chosen = adapted.set_adapter if switch == "model" else adapted.base_model.set_adapter
    chosen("other")
    assert [layer.active_adapters for layer in layers(adapted)] == [["other"]] * len(blocks)
    alone = get_peft_model(model.new(), GPartConfig(d=D, target_modules=blocks)).eval()
    randomise(alone, seed=8)
    assert torch.equal(model.output(adapted), model.output(alone))
    chosen("default")
    assert torch.equal(model.output(adapted), first)


@EACH_MODEL
def test_deleting_the_active_adapter_leaves_the_next_and_deleting_the_last_the_base(model: Model) -> None:
    adapted = with_second(model)
    adapted.set_adapter("other")
    second = model.output(adapted)
    adapted.set_adapter("default")
    adapted.delete_adapter("default")
    assert adapted.active_adapters == ["other"]
    assert torch.equal(model.output(adapted), second)
    assert list(tuner(adapted).gpart_theta) == list(adapted.peft_config) == ["other"]
    adapted.delete_adapter("other")
    assert adapted.active_adapters == []
    assert torch.equal(model.output(adapted.base_model), model.output(model.new()))
    assert not any(name for layer in layers(adapted) for name in layer._all_available_adapter_names())


@EACH_MODEL
def test_nothing_is_left_of_a_deleted_adapter(model: Model) -> None:
    adapted = with_second(model, modules_to_save=[model.head], bias="none" if model.name == "embedding" else "all")

    def holders() -> list[str]:
        """The dictionaries, of modules and of their attributes, with the adapter's name in them."""
        found = []
        for name, module in adapted.named_modules():
            for attribute in {**vars(module), **module._modules, **module._parameters}:
                value = getattr(module, attribute, None)
                if hasattr(value, "keys") and "other" in value:
                    found.append(f"{name}.{attribute}")
        return found

    assert len(holders()) > len(layers(adapted))
    adapted.delete_adapter("other")
    assert holders() == []
    assert torch.equal(model.output(adapted), model.output(model.adapted()))


@EACH_MODEL
def test_refused_calls_leave_the_model_as_it_was(model: Model) -> None:
    adapted = with_second(model)
    before, output = bits(adapted), model.output(adapted)
    own = adapted.peft_config["default"]
    with pytest.raises(ValueError, match="Adapter unknown does not exist"):
        adapted.delete_adapter("unknown")
    with pytest.raises(ValueError, match="Adapter with name 'default' already exists"):
        adapted.add_adapter("default", model.config(d=5))
    with pytest.raises(ValueError, match="Adapter unknown not found"):
        adapted.set_adapter("unknown")
    with pytest.raises(ValueError, match="d: 100000 exceeds the N="):
        adapted.add_adapter("third", model.config(d=100_000))
    with pytest.raises(ValueError, match="not found in the base model"):
        adapted.add_adapter("third", model.config(target_modules=["nothing"]))
    assert list(adapted.peft_config) == ["default", "other"]
    assert adapted.peft_config["default"] is own
    assert adapted.active_adapters == ["default"]
    assert trainable(adapted) == {"base_model.gpart_theta.default"}
    assert same_bits(bits(adapted), before)
    assert torch.equal(model.output(adapted), output)
    adapted.add_adapter("third", model.config(d=5))


@EACH_MODEL
@pytest.mark.parametrize("changes", [{"d": 100_000}, {"target_modules": ["nothing"]}], ids=["d", "targets"])
def test_a_failed_injection_leaves_the_base_as_it_was(model: Model, changes: dict[str, Any]) -> None:
    base = model.new()
    before, kinds = bits(base), [type(module) for module in base.modules()]
    with pytest.raises(ValueError, match=r"d: 100000 exceeds|not found in the base model"):
        get_peft_model(base, model.config(**changes))
    assert [type(module) for module in base.modules()] == kinds
    assert same_bits(bits(base), before)
    assert torch.equal(model.output(base), model.output(model.new()))
    assert torch.equal(model.output(get_peft_model(base, model.config())), model.output(model.new()))


@EACH_MODEL
def test_every_adapter_has_its_own_head(model: Model) -> None:
    adapted = model.adapted(modules_to_save=[model.head])
    adapted.add_adapter("other", model.config(modules_to_save=[model.head]))
    adapted.add_adapter("bare", model.config())
    head = adapted.get_base_model().get_submodule(model.head)
    with torch.no_grad():
        head.modules_to_save["other"].weight.zero_()
    base, first = model.output(model.new()), model.output(adapted)
    assert torch.equal(first, model.output(model.adapted()))
    adapted.set_adapter("bare")
    assert torch.equal(model.output(adapted), base)
    assert not head.modules_to_save["other"].weight.requires_grad
    adapted.set_adapter("other")
    assert not torch.equal(model.output(adapted), base)
    assert trainable(adapted) == {"base_model.gpart_theta.other"} | {
        f"base_model.model.{model.head}.modules_to_save.other.{name}"
        for name, _ in head.modules_to_save["other"].named_parameters()
    }
    with pytest.raises(ValueError, match="Only one adapter can be set at a time"):
        adapted.base_model.set_adapter(["default", "other"])


@EACH_MODEL
def test_trainability_is_set_by_name(model: Model) -> None:
    adapted = with_second(model)
    adapted.set_requires_grad("other")
    assert trainable(adapted) == {"base_model.gpart_theta.default", "base_model.gpart_theta.other"}
    adapted.set_requires_grad(["default", "other"], requires_grad=False)
    assert trainable(adapted) == set()
    adapted.add_adapter("third", model.config())
    assert trainable(adapted) == set()


@EACH_MODEL
def test_peft_s_own_status_is_right(model: Model) -> None:
    adapted = with_second(model)
    status = get_model_status(adapted)
    assert (status.base_model_type, status.adapter_model_type) == (type(model.new()).__name__, "GPartModel")
    assert status.peft_types == {"default": "GPART", "other": "GPART"}
    assert status.num_adapter_layers == len(layers(adapted))
    assert (status.trainable_params, status.total_params) == (D, sum(p.numel() for p in adapted.parameters()))
    assert status.enabled is True
    assert status.active_adapters == ["default"]
    assert status.merged_adapters == []
    assert status.requires_grad == {"default": True, "other": False}
    assert status.available_adapters == ["default", "other"]
    assert status.devices == {"default": ["cpu"], "other": ["cpu"]}
    adapted.merge_adapter()
    with adapted.disable_adapter():
        status = get_model_status(adapted)
        assert status.enabled is False
        assert status.merged_adapters == ["default"]
    one = get_layer_status(adapted)[0]
    assert one.name == f"model.{tuner(adapted).partition().layers[0].name}"
    assert one.module_type.startswith("gpart.GPart")
    assert (one.active_adapters, one.merged_adapters, one.available_adapters) == (
        ["default"],
        ["default"],
        ["default", "other"],
    )
    assert one.requires_grad == {"default": True, "other": False}
    assert adapted.get_nb_trainable_parameters() == (D, sum(p.numel() for p in adapted.parameters()))


@EACH_TRANSFORMER
def test_the_status_of_a_layer_names_the_adapters_that_reach_it(model: Model) -> None:
    names = [name for name, _ in model.new().named_modules() if name.endswith(model.targets)]
    adapted = get_peft_model(model.new(), GPartConfig(d=24, target_modules=names[:1]))
    adapted.add_adapter("other", GPartConfig(d=24, target_modules=names[1:]))
    assert [layer.available_adapters for layer in get_layer_status(adapted)] == [["default"]] + [["other"]] * (
        len(names) - 1
    )
    adapted.merge_adapter(["default"])
    assert get_model_status(adapted).merged_adapters == ["default"]
