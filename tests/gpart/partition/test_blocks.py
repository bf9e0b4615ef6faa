"""The scheme `block`: balanced, isometric, computed, and the same whichever way it is asked."""

from __future__ import annotations

import pytest
import torch

from gpart import Partition
from gpart.partition.block_groups import BlockGroups, group_sizes
from gpart.partition.permutations import LONGEST, Permutations, block_length, groups_at

# Blocks that divide d or not, d below a block, more groups than a layer has weights, layers that begin anywhere.
CASES = pytest.mark.parametrize(
    ("d", "layers"),
    [
        (1, [5, 7]),
        (3, [64, 10, 1]),
        (16, [16, 16]),
        (17, [100, 3, 250]),
        (100, [1000, 77, 13]),
        (1024, [4096, 100, 5000]),
        (1031, [4096, 100, 5000]),
        (2000, [700, 700, 700, 1900]),
        (4608, [20000]),
    ],
)


def partition(d: int, layers: list[int], seed: int = 3) -> Partition:
    return Partition(scheme="block", d=d, seed=seed, layer_sizes=layers)


@CASES
def test_every_chunk_meets_every_group_once_and_sizes_differ_by_one(d: int, layers: list[int]) -> None:
    p, n = partition(d, layers), sum(layers)
    ids = p.group_ids(0, n)
    for low in range(0, n - d + 1, d):
        assert torch.equal(ids[low : low + d].sort().values, torch.arange(d))
    assert torch.equal(p.group_sizes, torch.bincount(ids, minlength=d))
    assert int(p.group_sizes.max() - p.group_sizes.min()) <= 1
    assert p.dead == 0


# In float32 the sums may be left to embedding_bag, in other types they never are.
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@CASES
def test_blocks_and_group_numbers_are_the_same_map(d: int, layers: list[int], dtype: torch.dtype) -> None:
    p, n = partition(d, layers), sum(layers)
    ids, value, gradient = p.group_ids(0, n), torch.randn(d, dtype=dtype), torch.randn(n, dtype=dtype)
    summed = torch.promote_types(dtype, torch.float32)
    tolerance = 100 * torch.finfo(summed).eps * max(layers) / d
    for index, (low, high) in enumerate(zip(p.offsets, p.offsets[1:], strict=False)):
        groups = p.layer_groups(index, torch.device("cpu"))
        assert isinstance(groups, BlockGroups)
        assert torch.equal(groups.gather(value), value[ids[low:high]])
        expected = torch.zeros(d).double().index_add(0, ids[low:high], gradient[low:high].double())
        collected = groups.segment_sum(gradient[low:high], d)
        assert collected.dtype == summed
        torch.testing.assert_close(collected.double(), expected, rtol=0, atol=tolerance)


@CASES
def test_consecutive_positions_of_a_block_are_consecutive_groups(d: int, layers: list[int]) -> None:
    length, ids = block_length(d), partition(d, layers).group_ids(0, sum(layers))
    offset = torch.arange(sum(layers)) % d
    inside = (offset[1:] % length != 0) & (offset[1:] < d // length * length)
    assert torch.equal(ids[1:][inside], ids[:-1][inside] + 1)


@pytest.mark.parametrize("d", [1, 15, 16, 31, 32, 1023, 1024, 23040, 524288])
def test_a_block_is_a_power_of_two_and_a_chunk_has_at_least_sixteen(d: int) -> None:
    length = block_length(d)
    assert length & (length - 1) == 0
    assert 1 <= length <= LONGEST
    assert d // length >= min(d, 16)
    assert length == LONGEST or d // (2 * length) < 16


@pytest.mark.parametrize("blocks", [1, 2, 30, 210, 2310, 4096, 46340, 46341])
def test_inverses_of_all_permutations(blocks: int) -> None:
    permutations = Permutations(blocks, 1, *_drawn(50, blocks))
    targets, sources = permutations.targets(0, 50), permutations.sources(0, 50)
    places = torch.arange(blocks).expand(50, -1)
    assert torch.equal(targets.sort(1).values, places)
    assert torch.equal(targets.gather(1, sources), places)


def _drawn(chunks: int, blocks: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    permutations = Permutations.drawn(chunks, blocks * block_length(blocks), 7)
    multiplier = torch.where(torch.gcd(permutations.multiplier, torch.tensor(blocks)) == 1, permutations.multiplier, 1)
    inverse = torch.tensor([pow(int(a), -1, blocks) for a in multiplier], dtype=multiplier.dtype)
    return multiplier, inverse, permutations.shift


def test_where_no_candidate_is_coprime_the_multiplier_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "gpart.partition.permutations.hash_groups", lambda positions, d, seed: torch.full_like(positions, 6)
    )
    permutations = Permutations.drawn(2, 12 * 64, 0)
    assert permutations.multiplier.tolist() == [1, 1]
    assert permutations.shift.tolist() == [6, 6]


def test_groups_of_single_positions_anywhere() -> None:
    d, n = 1031, 40_000
    whole = partition(d, [n]).group_ids(0, n)
    positions = torch.tensor([[39_999, 0], [17, 1031], [1030, 20_619]])
    assert torch.equal(groups_at(positions, d, 3), whole[positions])


def test_neighbouring_seeds_and_chunks_do_not_share_permutations() -> None:
    # SplitMix64(seed + position) of neighbouring seeds is one stream, shifted: the seed is hashed before it is used.
    drawn = [Permutations.drawn(40, 4096 * 64, seed) for seed in range(20)]
    pairs = [pair for one in drawn for pair in zip(one.multiplier.tolist(), one.shift.tolist(), strict=True)]
    assert len(set(pairs)) >= len(pairs) - 1


def test_nothing_is_kept_for_a_weight() -> None:
    d, n = 4608, 200_000
    p = partition(d, [n])
    p.adjoint(p.project(torch.randn(d)))
    assert p.cached_bytes == 12 * -(-n // d)


@pytest.mark.parametrize("d", [1024, 1031])
def test_sums_have_one_order_whatever_the_threads(d: int) -> None:
    p, gradient = partition(d, [300_000]), torch.randn(300_000, generator=torch.Generator().manual_seed(0))
    before, sums = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 1):
            torch.set_num_threads(threads)
            sums.append(p.adjoint(gradient))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(sums[0], sums[1])
    assert torch.equal(sums[0], sums[2])
    torch.testing.assert_close(sums[0].double(), p.adjoint(gradient.double()), rtol=0, atol=2e-6)


@pytest.mark.parametrize(("d", "n"), [(7, 20), (1024, 5000)])
def test_sizes_need_no_counting(d: int, n: int) -> None:
    permutations = Permutations.drawn(-(-n // d), d, 3)
    assert torch.equal(group_sizes(n, d, permutations), torch.bincount(groups_at(torch.arange(n), d, 3), minlength=d))
