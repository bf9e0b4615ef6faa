"""Layers whose weight is stored quantised, of every kind that installs.

The first kind is made here, of torch alone: codes and scales, as all the libraries have them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpart import GPartLayer, Partition
from gpart.compute.slices import LayerSlice

IN, OUT, D, BEFORE = 64, 32, 6, 40
REASON = "not installed; bitsandbytes and torchao come with the extra `quantised`"


class Int8Linear(nn.Module):
    """A dense layer of eight-bit codes, with one scale for each row."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        scale = linear.weight.detach().abs().amax(1, keepdim=True) / 127
        self.register_buffer("scale", scale)
        self.register_buffer("codes", (linear.weight.detach() / scale).round().to(torch.int8))
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.linear(x, self.codes.to(x.dtype) * self.scale.to(x.dtype), bias)


def bnb_int8(linear: nn.Linear) -> nn.Module:
    bnb = pytest.importorskip("bitsandbytes", reason=REASON)
    made = bnb.nn.Linear8bitLt(linear.in_features, linear.out_features, linear.bias is not None, has_fp16_weights=False)
    return loaded(made, linear)


def bnb_4bit(linear: nn.Linear, **options: Any) -> nn.Module:
    bnb = pytest.importorskip("bitsandbytes", reason=REASON)
    made = bnb.nn.Linear4bit(linear.in_features, linear.out_features, linear.bias is not None, **options)
    return trainable(loaded(made, linear))


def trainable(module: nn.Module) -> nn.Module:
    """Four-bit layers of bitsandbytes 0.50 repack themselves in evaluation, on processors with bfloat16 products, and
    pass no gradient after that, even in training."""
    for layer in module.modules():
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False
    return module


def loaded(made: nn.Module, linear: nn.Linear) -> nn.Module:
    """With the values of `linear`; bitsandbytes quantises on moving to a device."""
    made.load_state_dict(linear.state_dict())
    return made.to("cpu")


def torchao(linear: nn.Linear, config: str) -> nn.Module:
    quantization = pytest.importorskip("torchao.quantization", reason=REASON)
    holder = nn.Sequential(copy.deepcopy(linear).requires_grad_(False))
    quantization.quantize_(holder, getattr(quantization, config)())
    made: nn.Module = holder[0]
    return made


def hqq(linear: nn.Linear) -> nn.Module:
    quantize = pytest.importorskip("hqq.core.quantize", reason=REASON)
    options = quantize.BaseQuantizeConfig(nbits=4, group_size=linear.in_features)
    made: nn.Module = quantize.HQQLinear(copy.deepcopy(linear), options, compute_dtype=torch.float32, device="cpu")
    return made


def quanto(linear: nn.Linear) -> nn.Module:
    library = pytest.importorskip("optimum.quanto", reason=REASON)
    holder = nn.Sequential(copy.deepcopy(linear))
    library.quantize(holder, weights=library.qint8)
    library.freeze(holder)
    made: nn.Module = holder[0]
    return made


_KINDS: dict[str, tuple[str, Callable[[nn.Linear], nn.Module]]] = {
    "codes": ("torch", Int8Linear),
    "bnb-int8": ("bitsandbytes", bnb_int8),
    "bnb-nf4": ("bitsandbytes", lambda linear: bnb_4bit(linear, quant_type="nf4")),
    "bnb-fp4-twice": ("bitsandbytes", lambda linear: bnb_4bit(linear, quant_type="fp4", compress_statistics=True)),
    "torchao-int8": ("torchao", lambda linear: torchao(linear, "Int8WeightOnlyConfig")),
    "torchao-float8": ("torchao", lambda linear: torchao(linear, "Float8WeightOnlyConfig")),
    "hqq": ("hqq", hqq),
    "quanto": ("optimum", quanto),
}
LIBRARIES = sorted({library for library, _ in _KINDS.values()})
KINDS_OF = {library: [name for name, (own, _) in _KINDS.items() if own == library] for library in LIBRARIES}
KINDS = {name: make for name, (library, make) in _KINDS.items() if find_spec(library) is not None}
"""A layer like a dense one, by the name of its kind; of what is installed."""
EACH = pytest.mark.parametrize("kind", KINDS)


def kinds(*prefixes: str) -> pytest.MarkDecorator:
    """Those of the installed kinds whose names begin so."""
    return pytest.mark.parametrize("kind", [name for name in KINDS if name.startswith(prefixes)])


def dense(bias: bool = True, rows: int = OUT, columns: int = IN) -> nn.Linear:
    torch.manual_seed(5)
    return nn.Linear(columns, rows, bias=bias)


def stored(module: nn.Module) -> dict[str, Tensor]:
    """Copies of what the module saves, down to the tensors inside those of a type of their own."""
    plain: dict[str, Tensor] = {}
    for name, tensor in module.state_dict().items():
        if hasattr(tensor, "__tensor_flatten__"):
            plain |= {f"{name}.{part}": getattr(tensor, part) for part in tensor.__tensor_flatten__()[0]}
        elif isinstance(tensor, Tensor):
            plain[name] = tensor
    return {name: tensor.detach().clone() for name, tensor in plain.items()}


def shown(module: nn.Module) -> str:
    """The type by which an error names it: of the weight, where that is what the library brings, else of the layer."""
    weight = getattr(module, "weight", None)
    return type(weight if hasattr(weight, "__tensor_flatten__") else module).__name__


def assert_same(before: dict[str, Tensor], after: dict[str, Tensor]) -> None:
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def adapted(base: nn.Module, *, d: int = D, scheme: str = "hash", names: str = "a", **options: Any) -> GPartLayer:
    """The layer as second of two in its partition, with a vector that is not zero.

    In training mode: in evaluation bitsandbytes rounds inputs to eight bits too.
    """
    generator = torch.Generator().manual_seed(3)
    dtype = options.pop("dtype", torch.float32)
    thetas = nn.ParameterDict(
        {name: torch.randn(d, generator=generator, dtype=torch.float64).to(dtype) for name in names}
    )
    layer = GPartLayer(base.requires_grad_(False), thetas)  # type: ignore[arg-type]
    size = layer.in_features * layer.out_features
    for seed, name in enumerate(names):
        partition = Partition(d=d, seed=seed, scheme=scheme, layer_sizes=[BEFORE, size])
        layer.gpart_slices[name] = LayerSlice(
            partition, 1, options.get("dropout", 0.0), options.get("keep_base", False)
        )
    layer.set_adapter(list(names))
    return layer.train()


def change(layer: GPartLayer, name: str = "a", theta: Tensor | None = None) -> Tensor:
    """The layer's part of P theta, (out, in)."""
    partition = layer.gpart_slices[name].partition
    part = partition.project(layer.gpart_theta[name] if theta is None else theta)[BEFORE:]
    return part.view(layer.out_features, layer.in_features)


def rows(dtype: torch.dtype = torch.float32, columns: int = IN) -> Tensor:
    return torch.randn(2, 3, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).to(dtype)
