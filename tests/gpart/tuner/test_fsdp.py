"""Sharded over two processes, a model trains the vector that one process does, and saves the same checkpoint."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model, get_peft_model_state_dict
from peft.utils.other import fsdp_auto_wrap_policy
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import (
    FSDPModule,
    FullyShardedDataParallel,
    MixedPrecisionPolicy,
    StateDictType,
    fully_shard,
)
from transformers.modeling_layers import GradientCheckpointingLayer

from gpart import GPartLayer
from gpart.tuner.sharding import replicated
from tests.gpart.small_models import SMALL, logits, randomise
from tests.gpart.two_processes import PROCESSES, in_two_processes

STEPS, BATCH = 5, 8
#: Shapes with what is tested on them. The adapted layers are in the blocks, or in the root as well; RoBERTa's head is
#: trained beside the vector. The processes cannot share 25 values evenly.
SHAPES: dict[str, dict[str, Any]] = {
    "llama": {"d": 25, "scheme": "hash", "target_modules": ["q_proj", "v_proj", "lm_head"]},
    "roberta": {"d": 25, "scheme": "block", "bias": "all"},
}
VECTOR = "base_model.gpart_theta"


def blocks(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]


def fsdp2(model: PeftModel, **options: Any) -> nn.Module:
    """Each block, then the rest."""
    for block in blocks(model):
        fully_shard(block, **options)
    fully_shard(model, **options)
    return model


def fsdp2_with_tail(model: PeftModel) -> nn.Module:
    """As accelerate does it: embeddings, blocks, the last norm with the output layer, the rest."""
    base = model.get_base_model()
    if base.get_output_embeddings() is not None:
        fully_shard(base.get_input_embeddings())
        fully_shard([base.model.norm, base.get_output_embeddings()], reshard_after_forward=False)
    return fsdp2(model)


def fsdp2_inside(model: PeftModel) -> nn.Module:
    """The base model alone, outside of which the vector is."""
    ignored = replicated(model)
    fsdp2(model.get_base_model(), ignored_params=ignored)
    return model


def fsdp1(model: PeftModel, **options: Any) -> nn.Module:
    """By PEFT's own policy: each block, each trained layer of a head, then the rest."""
    policy = fsdp_auto_wrap_policy(model)
    options = {"auto_wrap_policy": policy, "use_orig_params": True, "device_id": torch.device("cpu"), **options}
    return FullyShardedDataParallel(model, **options)


def checkpointed(model: PeftModel, reentrant: bool) -> PeftModel:
    model.get_base_model().activation_checkpointing_enable({"use_reentrant": reentrant})
    return model


def compiled(model: PeftModel) -> PeftModel:
    torch._dynamo.reset()
    for block in blocks(model):
        block.compile(backend="aot_eager")
    return model


@dataclass(frozen=True)
class Way:
    """How a model is sharded, and in how many parts its gradients are accumulated before processes exchange them."""

    shard: Callable[[PeftModel], nn.Module]
    parts: int = 1


WAYS = {
    "fsdp2": Way(fsdp2),
    "fsdp2-root-resharded": Way(lambda model: fsdp2(model, reshard_after_forward=True)),
    "fsdp2-tail": Way(fsdp2_with_tail),
    "fsdp2-checkpointed": Way(lambda model: fsdp2(checkpointed(model, False))),
    "fsdp2-reentrant": Way(lambda model: fsdp2(checkpointed(model, True))),
    "fsdp2-compiled": Way(lambda model: fsdp2(compiled(model))),
    "fsdp2-accumulated": Way(fsdp2, 2),
    "fsdp2-replicated": Way(lambda model: fsdp2(model, ignored_params=replicated(model))),
    "fsdp2-replicated-reentrant": Way(lambda model: fsdp2(checkpointed(model, True), ignored_params=replicated(model))),
    "fsdp2-replicated-accumulated": Way(lambda model: fsdp2(model, ignored_params=replicated(model)), 2),
    "fsdp2-replicated-inside": Way(fsdp2_inside),
    "fsdp1": Way(fsdp1),
    "fsdp1-checkpointed": Way(lambda model: fsdp1(checkpointed(model, False))),
    "fsdp1-accumulated": Way(fsdp1, 2),
    "fsdp1-replicated": Way(lambda model: fsdp1(model, ignored_states=replicated(model))),
    "fsdp1-replicated-reentrant": Way(lambda model: fsdp1(checkpointed(model, True), ignored_states=replicated(model))),
    "fsdp1-replicated-accumulated": Way(lambda model: fsdp1(model, ignored_states=replicated(model)), 2),
    "fsdp1-replicated-flat": Way(lambda model: fsdp1(model, ignored_states=replicated(model), use_orig_params=False)),
}


def adapted(name: str, dtype: torch.dtype = torch.float32) -> PeftModel:
    """A model in training mode, of whose masks only GPart's are left: the others fall on a part of the batch."""
    model = get_peft_model(SMALL[name].new().to(dtype), SMALL[name].config(dropout=0.3, **SHAPES[name])).train()
    randomise(model)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def exchange(forward: nn.Module, now: bool) -> Any:
    """Whether the next backward exchanges gradients."""
    if isinstance(forward, FullyShardedDataParallel) and not now:
        return forward.no_sync()
    if isinstance(forward, FSDPModule):
        forward.set_requires_gradient_sync(now)
    return nullcontext()


def train(forward: nn.Module, name: str, rank: int = 0, processes: int = 1, parts: int = 1) -> None:
    """Some steps on this process's part of each batch, with masks that all processes draw alike."""
    trained = [(key, p) for key, p in forward.named_parameters() if p.requires_grad]
    groups = [[p for key, p in trained if ("gpart_theta" in key) is vector] for vector in (True, False)]
    # The gradients are not large against eps, so that a wrong factor in them is seen.
    optimizer = torch.optim.AdamW([{"params": group} for group in groups if group], lr=0.5, eps=0.1)
    generator = torch.Generator().manual_seed(5)
    for number in range(STEPS):
        ids = torch.randint(3, 50, (BATCH, 6), generator=generator)
        labels = ids if name == "llama" else torch.randint(0, 3, (BATCH,), generator=generator)
        optimizer.zero_grad()
        torch.manual_seed(number)
        for part in range(parts):
            own = slice(rank * parts + part, None, processes * parts)
            with exchange(forward, part == parts - 1):
                loss = forward(input_ids=ids[own], labels=labels[own]).loss / parts
                loss.backward()
        optimizer.step()


def gathered(forward: nn.Module) -> dict[str, Tensor]:
    """The state dict, whole, on every process."""
    if isinstance(forward, FullyShardedDataParallel):
        with FullyShardedDataParallel.state_dict_type(forward, StateDictType.FULL_STATE_DICT):
            state: dict[str, Tensor] = forward.state_dict()
            return state
    return get_model_state_dict(forward, options=StateDictOptions(full_state_dict=True))


def checkpoint(rank: int, way: Way, name: str, folder: Path, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Train in one way, save, and return what was saved."""
    model = adapted(name, dtype)
    forward = way.shard(model)
    train(forward, name, rank, PROCESSES, way.parts)
    state = gathered(forward)
    # Every process calls it: PEFT asks a sharded head for its state dict, which all have to give.
    model.save_pretrained(str(folder), state_dict=state, is_main_process=rank == 0)
    return get_peft_model_state_dict(model, state_dict=state)


def every_way(rank: int, folder: str) -> dict[tuple[str, str], dict[str, Tensor]]:
    return {
        (key, name): checkpoint(rank, way, name, Path(folder) / key / name)
        for key, way in WAYS.items()
        for name in SHAPES
    }


@pytest.mark.slow
def test_vector_and_checkpoint_are_those_of_one_process(tmp_path: Path) -> None:
    (tmp_path / "group").mkdir()
    first, second = in_two_processes(tmp_path / "group", every_way, str(tmp_path))
    for name, parts in itertools.product(SHAPES, (1, 2)):
        start, model = get_peft_model_state_dict(adapted(name)), adapted(name)
        train(model, name, parts=parts)
        expected = get_peft_model_state_dict(model.eval())
        assert (expected[VECTOR] - start[VECTOR]).abs().max() > 1e-2
        for key in [key for key, way in WAYS.items() if way.parts == parts]:
            ours = first[key, name]
            assert list(ours) == list(expected), key
            assert all(torch.equal(ours[entry], second[key, name][entry]) for entry in ours), key
            torch.testing.assert_close(ours, expected, rtol=0, atol=1e-6, msg=lambda text, key=key: f"{key}: {text}")
            loaded = PeftModel.from_pretrained(SMALL[name].new(), str(tmp_path / key / name)).eval()
            torch.testing.assert_close(logits(loaded), logits(model), rtol=0, atol=1e-6)


# What FSDP does not take, and what `replicated` does about it


def layers_alone(model: PeftModel) -> nn.Module:
    for module in [module for module in model.modules() if type(module) is nn.Linear]:
        fully_shard(module)
    return fsdp2(model)


REFUSED: dict[str, tuple[Callable[[PeftModel], nn.Module], str, torch.dtype]] = {
    "Must flatten tensors with uniform `requires_grad`": (
        lambda model: fsdp1(model, use_orig_params=False),
        "llama",
        torch.float32,
    ),
    "Must flatten tensors with uniform dtype": (fsdp1, "llama", torch.bfloat16),
    "FSDP expects uniform original parameter dtype": (fsdp2, "roberta", torch.bfloat16),
    "got mixed torch.Tensor and DTensor": (layers_alone, "llama", torch.float32),
}
HALF: dict[str, tuple[Callable[[PeftModel], nn.Module], str]] = {
    "fsdp2": (lambda model: fsdp2(model, ignored_params=replicated(model)), "roberta"),
    "fsdp1": (lambda model: fsdp1(model, ignored_states=replicated(model)), "llama"),
}


def limits(rank: int) -> dict[str, Any]:
    """Errors by the text expected in them, vectors from half-precision bases, and from a vector that is left out."""
    results: dict[str, Any] = {}
    for text, (shard, name, dtype) in REFUSED.items():
        with pytest.raises((AssertionError, RuntimeError, ValueError)) as caught:
            train(shard(adapted(name, dtype)), name, rank, PROCESSES)
        results[text] = str(caught.value)
    for key, (shard, name) in HALF.items():
        model = adapted(name, torch.bfloat16)
        train(shard(model), name, rank, PROCESSES)
        results[key] = vector(model)
    model = adapted("llama")
    fsdp2(model.get_base_model())
    train(model, "llama", rank, PROCESSES)
    types = [types_under_a_policy(keep_whole) for keep_whole in (False, True)]
    return results | {"left out": vector(model), "types": types}


def types_under_a_policy(keep_whole: bool) -> tuple[torch.dtype, torch.dtype]:
    """Of vector and weight in a layer's forward, where FSDP gathers parameters in bfloat16."""
    model, seen = adapted("llama"), []
    layer = next(module for module in model.modules() if isinstance(module, GPartLayer))
    layer.register_forward_pre_hook(lambda at, _: seen.append((at.gpart_theta["default"].dtype, at.weight.dtype)))
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    forward = fsdp2(model, mp_policy=policy, ignored_params=replicated(model) if keep_whole else set())
    ids = torch.arange(3, 15).view(2, 6)
    forward(input_ids=ids, labels=ids).loss.backward()
    assert vector(model).dtype == torch.float32
    return seen[0]


def vector(model: nn.Module) -> Tensor:
    (theta,) = [p.detach() for key, p in model.named_parameters() if "gpart_theta" in key]
    return theta


@pytest.mark.slow
def test_what_fsdp_refuses_and_what_replicating_mends(tmp_path: Path) -> None:
    first, second = in_two_processes(tmp_path, limits)
    for text in REFUSED:
        assert text in first[text]
        assert text in second[text]
    for key, (_, name) in HALF.items():
        model = adapted(name, torch.bfloat16)
        start = vector(model).clone()
        train(model, name)
        assert torch.equal(first[key], second[key])
        # The gradient of a half's weights is rounded to 2**-8 of itself, and so is that of the whole batch's.
        assert (first[key] - vector(model)).norm() < 2**-6 * (vector(model) - start).norm()
    assert first["types"] == [(torch.bfloat16, torch.bfloat16), (torch.float32, torch.bfloat16)]
    # Outside of what is sharded, it is trained on each process's own part of the batch.
    assert not torch.allclose(first["left out"], second["left out"], atol=1e-3)


def test_a_model_without_the_method_has_no_vector() -> None:
    with pytest.raises(ValueError, match="model: a Linear without a GPart adapter; accepted is one with"):
        replicated(nn.Linear(2, 2))
