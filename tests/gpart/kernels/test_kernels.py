"""The Triton kernels against the torch path: on a GPU where there is one, else in Triton's interpreter on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_peft_model
from torch import Tensor, nn
from torch.autograd import forward_ad

from gpart import GPartConfig, Partition, kernels
from gpart.compute.deltas import Delta, effective_weight
from gpart.hashing import hash_groups
from gpart.partition.permutations import Permutations, groups_at

pytest.importorskip("triton", reason="triton is not installed: pip install -e '.[triton]'")
with pytest.MonkeyPatch.context() as environment:
    if not torch.cuda.is_available():
        environment.setenv("TRITON_INTERPRET", "1")  # read where kernels are defined, and not for other tests
    from gpart.kernels import launch

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
#: Layers that begin anywhere, beyond 2**31 and 2**40 too, of sizes that no block divides.
STARTS = (0, 3, 1500, 2**31 + 5, 2**40 - 7)
SEEDS = (0, 7, 2**63, 2**64 - 1)
# Blocks that divide d or not, a single group, d below a block, more groups than a layer has weights.
BLOCKS = pytest.mark.parametrize(
    ("d", "start", "n"),
    [(1, 3, 100), (3, 4, 100), (17, 5, 400), (100, 77, 3000), (1024, 4096, 3000), (1031, 100, 5000), (2000, 2100, 700)],
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def permutations_of(d: int, stop: int, seed: int = 3) -> Permutations:
    return Permutations.drawn(-(-stop // d), d, seed).to(DEVICE)


@pytest.fixture
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("d", [1, 7, 4096, 2**20 + 7])
def test_hash_groups_are_those_of_the_torch_path(d: int, start: int, seed: int) -> None:
    # Float32 holds every number below 2**24, so that adding group numbers to zeros shows them.
    numbers = torch.arange(d, dtype=torch.float32, device=DEVICE)
    shown = launch.add_hash(torch.zeros(1500, device=DEVICE), numbers, start, seed)
    assert torch.equal(shown.long(), hash_groups(torch.arange(start, start + 1500, device=DEVICE), d, seed))


@BLOCKS
@pytest.mark.parametrize("seed", SEEDS)
def test_block_groups_are_those_of_the_torch_path(d: int, start: int, n: int, seed: int) -> None:
    numbers = torch.arange(d, dtype=torch.float32, device=DEVICE)
    shown = launch.add_blocks(torch.zeros(n, device=DEVICE), numbers, start, permutations_of(d, start + n, seed))
    assert torch.equal(shown.long().cpu(), groups_at(torch.arange(start, start + n), d, seed))


def test_blocks_beyond_the_first_two_to_the_31_positions() -> None:
    d, start, n = 1024, 100, 3000
    near = permutations_of(d, start + n)
    far = near.map(lambda table: torch.cat([table.new_ones(2**31 // d), table]))
    weight, value = normal(n), normal(d, seed=1)
    for there, permutations in ((2**31 + start, far), (start, near)):
        ids = groups_at(torch.arange(start, start + n), d, 3).to(DEVICE)
        assert torch.equal(launch.add_blocks(weight, value, there, permutations), weight + value[ids])
    near_sums = launch.segment_sum_blocks(weight, d, start, near)
    assert torch.equal(launch.segment_sum_blocks(weight, d, 2**31 + start, far), near_sums)


@BLOCKS
@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_have_the_bits_of_the_torch_path(d: int, start: int, n: int, dtype: torch.dtype) -> None:
    weight, value = normal(n).to(dtype), normal(d, seed=1)
    for scheme, fused in (
        ("block", launch.add_blocks(weight, value, start, permutations_of(d, start + n))),
        ("hash", launch.add_hash(weight, value, start, 3)),
    ):
        ids = (groups_at if scheme == "block" else hash_groups)(torch.arange(start, start + n), d, 3)
        expected = (weight.float() + value[ids.to(DEVICE)]).to(dtype)
        assert fused.dtype == dtype
        assert torch.equal(fused, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")  # numpy, which interprets
def test_rounding_of_halves_and_at_the_ends_of_the_range(dtype: torch.dtype) -> None:
    small = [1 + k * 2.0**-9 for k in range(9)] + [1 + 2.0**-8 + 2.0**-20, 1 + 3 * 2.0**-11, 3.0e-41, 1.5e-45]
    edges = [0.0, 65519.0, 65520.0, 3.3e38, 3.3895e38, 3.4e38, float("inf")]
    value = torch.tensor([sign * x for x in small + edges for sign in (1, -1)]).to(DEVICE)
    weight = torch.zeros(3000, dtype=dtype, device=DEVICE)
    ids = hash_groups(torch.arange(3000, device=DEVICE), len(value), 3)
    assert torch.equal(launch.add_hash(weight, value, 0, 3), value[ids].to(dtype))
    assert launch.add_hash(weight, value * float("nan"), 0, 3).isnan().all()


@BLOCKS
@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_are_those_of_the_torch_path(d: int, start: int, n: int, dtype: torch.dtype) -> None:
    gradient, positions = normal(n).to(dtype), torch.arange(start, start + n)
    for groups, fused in (
        (groups_at, launch.segment_sum_blocks(gradient, d, start, permutations_of(d, start + n))),
        (hash_groups, launch.segment_sum_hash(gradient, d, start, 3)),
    ):
        ids = groups(positions, d, 3).to(DEVICE)
        expected = torch.zeros(d, dtype=torch.float64, device=DEVICE).index_add(0, ids, gradient.double())
        sizes = torch.zeros_like(expected).index_add(0, ids, gradient.double().abs())
        # The bound for any order of summation: (deltas - 1) half units in the last place of the sum of sizes.
        bound = sizes * torch.bincount(ids, minlength=d) * 2.0**-24
        assert fused.dtype == torch.float32
        assert ((fused.double() - expected).abs() <= bound).all()


@BLOCKS
def test_the_order_of_sums_in_blocks_is_fixed(d: int, start: int, n: int) -> None:
    gradient, permutations = normal(n), permutations_of(d, start + n)
    sums = [launch.segment_sum_blocks(gradient, d, start, permutations, size=size) for size in (64, 128, 128, 512)]
    assert all(torch.equal(one, sums[0]) for one in sums)


@pytest.mark.parametrize("scale", [1.0, 2.0**-140, 2.0**120, 0.0])
@pytest.mark.usefixtures("deterministic")
def test_sums_in_fixed_point_have_no_order(scale: float) -> None:
    d, n, start, seed = 7, 5000, 12345, 2**64 - 3
    gradient = normal(n) * scale
    ids = hash_groups(torch.arange(start, start + n, device=DEVICE), d, seed)
    # The definition, in exact integers of Python: whoever adds in whichever order gets this.
    _, exponent = torch.frexp(gradient.abs().max().double())
    bits = 62 - 13 - int(exponent)
    units = torch.floor(gradient.double() * 2.0**bits + 0.5).long()
    exact = [sum(units[ids == j].tolist()) for j in range(d)]
    assert max(map(abs, exact)) < 2**63
    expected = torch.tensor([float(total) / 2.0**bits for total in exact]).to(DEVICE)
    for size in (64, 1024, 1024, 2048):
        assert torch.equal(launch.segment_sum_hash(gradient, d, start, seed, size=size), expected)


@pytest.mark.usefixtures("deterministic")
def test_fixed_point_cannot_overflow_where_one_group_has_every_entry() -> None:
    gradient = torch.full((4096,), 1 - 2.0**-24, device=DEVICE)
    assert launch.segment_sum_hash(gradient, 1, 0, 0).tolist() == [4096 * (1 - 2.0**-24)]
    assert launch.segment_sum_hash(-gradient, 1, 0, 0).tolist() == [-4096 * (1 - 2.0**-24)]


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # numpy, which interprets
@pytest.mark.usefixtures("deterministic")
def test_what_is_not_finite_stays_visible_in_fixed_point(bad: float) -> None:
    gradient = normal(100)
    gradient[17] = bad
    assert launch.segment_sum_hash(gradient, 5, 0, 0).isnan().all()


def test_a_layer_without_positions() -> None:
    empty, value = torch.empty(0, 4, device=DEVICE), torch.ones(5, device=DEVICE)
    assert launch.add_hash(empty, value, 3, 0).shape == (0, 4)
    assert launch.add_blocks(empty, value, 5, permutations_of(5, 10)).shape == (0, 4)
    assert launch.segment_sum_hash(empty.view(-1), 5, 3, 0).tolist() == [0] * 5
    assert launch.segment_sum_blocks(empty.view(-1), 5, 5, permutations_of(5, 10)).tolist() == [0] * 5


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Kernels switched on for the device of the tests; the names of those launched, which still do their work."""
    names: list[str] = []

    def noting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: (names.append(name), function(*args, **kwargs))[1]

    for name in ("add_hash", "add_blocks", "segment_sum_hash", "segment_sum_blocks"):
        monkeypatch.setattr(launch, name, noting(name, getattr(launch, name)))
    monkeypatch.setattr(kernels, "DEVICES", {DEVICE.type})
    return names


def model(scheme: str, dtype: torch.dtype = torch.float32, **settings: Any) -> nn.Module:
    torch.manual_seed(0)
    base = nn.Sequential(nn.Linear(12, 9), nn.Tanh(), nn.Linear(9, 5)).to(DEVICE, dtype)
    adapted = get_peft_model(base, GPartConfig(d=23, scheme=scheme, target_modules=["0", "2"], **settings))
    with torch.no_grad():
        adapted.base_model.gpart_theta["default"].copy_(normal(23, seed=2))
    return adapted


def outcome(adapted: nn.Module, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    output = adapted(normal(6, 12, seed=3).to(dtype))
    output.float().square().sum().backward()
    return output, adapted.base_model.gpart_theta["default"].grad


@pytest.mark.parametrize("scheme", ["hash", "block"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_trains_and_merges_by_the_kernels(
    scheme: str, dtype: torch.dtype, launched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output, gradient = outcome(fused := model(scheme, dtype), dtype)
    kind = "hash" if scheme == "hash" else "blocks"
    # Of the two layers, the first needs no gradient of its input.
    assert launched == [f"add_{kind}"] * 3 + [f"segment_sum_{kind}"] * 2
    fused.merge_adapter()
    assert torch.equal(fused(normal(6, 12, seed=3).to(dtype)), output)
    monkeypatch.setattr(kernels, "DEVICES", set())
    launched.clear()
    expected, expected_gradient = outcome(model(scheme, dtype), dtype)
    assert not launched
    assert torch.equal(output, expected)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scheme", ["hash", "block"])
def test_parts_of_the_groups_where_each_block_has_its_own(scheme: str, dtype: torch.dtype, launched: list[str]) -> None:
    partition = Partition(
        scheme=scheme, d=40, seed=1, layer_sizes=[300, 500], scope="transformer_block", blocks=["0", "1"]
    )
    value, gradient = normal(40), normal(500).to(dtype)
    groups, weight = partition.layer_groups(1, DEVICE), normal(500, seed=5).to(dtype)
    sums, fused = groups.segment_sum(gradient, 40), effective_weight(weight, [Delta(value, groups)])
    assert len(launched) == 2
    ids = partition.group_ids(300, 800).to(DEVICE)
    assert torch.equal(fused, (weight.float() + value[ids]).to(dtype))
    expected = torch.zeros(40, device=DEVICE).index_add(0, ids, gradient.float())
    torch.testing.assert_close(sums, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scheme", ["hash", "block"])
def test_transforms_and_double_backward_are_left_to_torch(
    scheme: str, launched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    adapted, x = model(scheme), normal(6, 12, seed=3)
    theta = adapted.base_model.gpart_theta["default"]
    name = next(name for name, parameter in adapted.named_parameters() if parameter is theta)
    direction = normal(23, seed=4)

    def loss(vector: Tensor) -> Tensor:
        return torch.func.functional_call(adapted, {name: vector}, (x,)).square().sum()

    def derivatives() -> list[Tensor]:
        (first,) = torch.autograd.grad(loss(theta), theta, create_graph=True)
        (second,) = torch.autograd.grad(first @ direction, theta)
        start = theta.detach()
        return [
            first.detach(),
            second,
            torch.func.grad(loss)(start),
            torch.func.jvp(loss, (start,), (direction,))[1],
            torch.func.jvp(torch.func.grad(loss), (start,), (direction,))[1],
            torch.func.vmap(torch.func.grad(loss))(torch.stack([start, direction])),
            # Batches of torch.autograd, which are not those of torch.func.
            torch.autograd.functional.hessian(loss, start, vectorize=True),
        ]

    with_kernels = derivatives()
    monkeypatch.setattr(kernels, "DEVICES", set())
    for one, other in zip(with_kernels, derivatives(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scheme", ["hash", "block"])
def test_tangents_are_not_lost(scheme: str, launched: list[str]) -> None:
    groups = Partition(scheme=scheme, d=23, layer_sizes=[200]).layer_groups(0, DEVICE)
    weight, value, tangent = normal(200), normal(23), normal(23, seed=1)
    with forward_ad.dual_level():
        moving = forward_ad.make_dual(value, tangent)
        moved = forward_ad.unpack_dual(effective_weight(weight, [Delta(moving, groups)]))
        summed = forward_ad.unpack_dual(groups.segment_sum(forward_ad.make_dual(weight, moved.tangent), 23))
    assert torch.equal(moved.tangent, groups.gather(tangent))
    assert not launched
    torch.testing.assert_close(summed.tangent, groups.segment_sum(moved.tangent, 23), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scheme", ["hash", "block"])
def test_float64_is_left_to_torch(scheme: str, launched: list[str]) -> None:
    outcome(model(scheme, torch.float64), torch.float64)
    assert not launched


def test_schemes_without_kernels_are_left_to_torch(launched: list[str]) -> None:
    outcome(model("iid"))
    assert not launched


def test_sums_of_several_terms_and_of_what_dropout_leaves_are_left_to_torch(launched: list[str]) -> None:
    groups = Partition(scheme="block", d=23, layer_sizes=[200]).layer_groups(0, DEVICE)
    weight, value, kept = normal(200), normal(23), normal(200) > 0
    change = groups.gather(value)
    assert torch.equal(effective_weight(weight, [Delta(value, groups, kept)]), weight + change * kept)
    assert torch.equal(effective_weight(weight, [Delta(value, groups)] * 2), weight + change + change)
    assert not launched


COMPILE = """
import torch, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from gpart.kernels import programs

def compiled(kernel, signature, constants):
    names = kernel.arg_names
    signature = dict(zip(names, signature + ["constexpr"] * len(constants)))
    constants = {(names.index(name),): value for name, value in constants.items()}
    binary = triton.compile(ASTSource(kernel, signature, constants), target=GPUTarget("cuda", 90, 32))
    assert len(binary.asm["cubin"]) > 0

for weight in ("*fp32", "*bf16", "*fp16"):
    for count in ("i32", "i64"):
        sizes = {"d": 23040, "size": 1024}
        blocks = {"d": 23040, "blocks": 360, "length": 64}
        compiled(programs.add_hash, [weight, weight, "*fp32", count, count, "i64"], sizes)
        compiled(programs.add_blocks, [weight, weight, "*fp32", "*i64", "*i64", count, count], {**blocks, "size": 1024})
        compiled(programs.segment_sum_hash, ["*i64", weight, "*fp64", count, count, "i64"], sizes)
        compiled(programs.segment_sum_hash, ["*fp32", weight, "constexpr", count, count, "i64"],
                 {**sizes, "unit": None})
        compiled(programs.segment_sum_blocks, ["*fp32", weight, "*i64", "*i64", count, count, count, count],
                 {**blocks, "chunks": 32, "size": 128})
"""


@pytest.mark.slow
def test_the_kernels_compile_for_a_device(tmp_path: Path) -> None:
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "TRITON_INTERPRET": "0"}
    root = Path(kernels.__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", COMPILE], capture_output=True, text=True, cwd=root, env=environment)
    assert done.returncode == 0, done.stderr
