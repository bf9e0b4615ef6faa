"""What the supported layers compute of an input and a weight, linear in each, and the two adjoints.

Each is the operation that the base layer itself calls, so that the bits are the same, and each is a tuple of integers,
or of such, so that a compiled graph can hold it. The adjoints are operations of torch whose own derivatives it knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from gpart.numerics import accumulation_dtype

_ATEN = torch.ops.aten


class Dense(NamedTuple):
    """The product of `nn.Linear`, or of transformers' `Conv1D`.

    Attributes:
        fan_in_fan_out: whether the weight is stored as (in, out), as Conv1D does.
    """

    fan_in_fan_out: int = 0

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """x (..., in) to (..., out)."""
        if not self.fan_in_fan_out:
            return F.linear(x, weight, bias)
        flat = x.reshape(-1, x.shape[-1])
        product = flat @ weight if bias is None else torch.addmm(bias, flat, weight)
        return product.view(*x.shape[:-1], weight.shape[1])

    def grad_input(self, grad_output: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """The gradient of the output, (..., out), to that of x."""
        return grad_output @ (weight.t() if self.fan_in_fan_out else weight)

    def grad_weight(self, grad_output: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """The gradient of the output to that of the weight, shaped like it; of the weight the shape alone is read."""
        flat, flat_x = grad_output.reshape(-1, grad_output.shape[-1]), x.reshape(-1, x.shape[-1])
        return flat_x.t() @ flat if self.fan_in_fan_out else flat.t() @ flat_x

    def along_bias(self, bias: Tensor) -> Tensor:
        """The bias, shaped so that it can be added to an output."""
        return bias

    def grad_bias(self, grad_output: Tensor) -> Tensor:
        """The gradient of the output to that of the bias, (out,)."""
        return grad_output.reshape(-1, grad_output.shape[-1]).sum(0)


class Convolution(NamedTuple):
    """The product of `nn.Conv1d`, `nn.Conv2d` or `nn.Conv3d`, behind any padding but as many zeros on both sides.

    Attributes:
        stride, padding, dilation: along each of the n dimensions of space, the first of the input's first.
        groups: into which channels are divided.
    """

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """x ([batch,] in, n sizes) to ([batch,] out, n sizes)."""
        operation = (F.conv1d, F.conv2d, F.conv3d)[len(self.stride) - 1]
        return operation(x, weight, bias, *self)

    def grad_input(self, grad_output: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """The gradient of the output to that of x."""
        return self._adjoint(grad_output, x, weight, 0).view(x.shape)

    def grad_weight(self, grad_output: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """The gradient of the output to that of the weight, shaped like it; of the weight the shape alone is read."""
        return self._adjoint(grad_output, x, weight.to(grad_output.dtype), 1)

    def _adjoint(self, grad_output: Tensor, x: Tensor, weight: Tensor, which: int) -> Tensor:
        n = len(self.stride)
        if x.dim() == n + 1:
            x, grad_output = x.unsqueeze(0), grad_output.unsqueeze(0)
        wanted = [which == 0, which == 1, False]
        geometry = (list(self.stride), list(self.padding), list(self.dilation), False, [0] * n, self.groups)
        result: Tensor = _ATEN.convolution_backward(grad_output, x, weight, None, *geometry, wanted)[which]
        return result

    def along_bias(self, bias: Tensor) -> Tensor:
        """The bias, shaped so that it can be added to an output."""
        return bias.view(-1, *[1] * len(self.stride))

    def grad_bias(self, grad_output: Tensor) -> Tensor:
        """The gradient of the output to that of the bias, (out,)."""
        n = len(self.stride)
        return grad_output.sum(tuple(range(-n, 0))).reshape(-1, grad_output.shape[-n - 1]).sum(0)


class EmbeddingLookup(NamedTuple):
    """What `nn.Embedding` computes: rows of its weight.

    Attributes:
        padding_idx: number of the row that has no gradient; -1 for none.
        scale_grad_by_freq: whether gradients are divided by how often their row occurs in the batch.
    """

    padding_idx: int = -1
    scale_grad_by_freq: int = 0

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """x (...), whole numbers, to (..., columns)."""
        return torch.embedding(weight, x, self.padding_idx, bool(self.scale_grad_by_freq))

    def grad_input(self, grad_output: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """Whole numbers have no gradient."""
        raise NotImplementedError

    def grad_weight(self, grad_output: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """The gradient of the output to that of the weight, shaped like it; of the weight the shape alone is read."""
        rows, by_frequency = weight.shape[0], bool(self.scale_grad_by_freq)
        # On the CPU it sums in the gradient's own type, and bfloat16 counts no token beyond the 256th.
        grad_output = grad_output.to(accumulation_dtype(grad_output.dtype))
        result: Tensor = _ATEN.embedding_dense_backward(grad_output, x, rows, self.padding_idx, by_frequency)
        return result

    def along_bias(self, bias: Tensor) -> Tensor:
        """There is no bias."""
        raise NotImplementedError

    def grad_bias(self, grad_output: Tensor) -> Tensor:
        """There is no bias."""
        raise NotImplementedError


class Identity(NamedTuple):
    """The weight alone, whatever the input: how a bias is adapted."""

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The weight."""
        return weight

    def grad_input(self, grad_output: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """The input has no part in it."""
        raise NotImplementedError

    def grad_weight(self, grad_output: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """The gradient of the output to that of the weight."""
        return grad_output

    def along_bias(self, bias: Tensor) -> Tensor:
        """There is no bias."""
        raise NotImplementedError

    def grad_bias(self, grad_output: Tensor) -> Tensor:
        """There is no bias."""
        raise NotImplementedError


Product = Dense | Convolution | EmbeddingLookup | Identity
_KINDS: tuple[type[Product], ...] = (Dense, Convolution, EmbeddingLookup, Identity)


def encoded(product: Product) -> list[int]:
    """The product as whole numbers, of which there is at least one."""
    flat = [number for field in product for number in (field if isinstance(field, tuple) else (field,))]
    return [_KINDS.index(type(product)), *flat]


def decoded(numbers: Sequence[int]) -> Product:
    """The inverse of `encoded`."""
    kind: Any = _KINDS[numbers[0]]
    numbers = numbers[1:]
    if kind is not Convolution:
        product: Product = kind(*numbers)
        return product
    n = len(numbers) // 3
    stride, padding, dilation = (tuple(numbers[start : start + n]) for start in range(0, 3 * n, n))
    return Convolution(stride, padding, dilation, numbers[-1])


class Padding(NamedTuple):
    """What happens to an input before the product.

    Attributes:
        widths: as `F.pad` takes them; empty for nothing.
        mode: of `F.pad`.
    """

    widths: tuple[int, ...] = ()
    mode: str = "constant"

    def __call__(self, x: Tensor) -> Tensor:
        """The padded input."""
        return F.pad(x, self.widths, self.mode) if self.widths else x


def product_of(module: nn.Module) -> tuple[Padding, Product]:
    """What a supported module does with its input."""
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return _convolution_of(module)
    if isinstance(module, nn.Embedding):
        padding_idx = -1 if module.padding_idx is None else module.padding_idx
        return Padding(), EmbeddingLookup(padding_idx, int(module.scale_grad_by_freq))
    return Padding(), Dense(int(isinstance(module, Conv1D)))


def _convolution_of(module: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> tuple[Padding, Product]:
    """As torch does it: zeros are left to the convolution, but for one more on one side (`padding="same"`)."""
    widths = tuple(module._reversed_padding_repeated_twice)
    lower, upper = widths[0::2], widths[1::2]
    if module.padding_mode != "zeros":
        before, inside = Padding(widths, module.padding_mode), (0,) * len(lower)
    else:
        more = tuple(width for low, up in zip(lower, upper, strict=True) for width in (0, up - low))
        before, inside = Padding(more if any(more) else ()), lower[::-1]
    return before, Convolution(tuple(module.stride), inside, tuple(module.dilation), module.groups)
