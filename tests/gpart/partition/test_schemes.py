from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from gpart.hashing import hash_groups, splitmix64
from gpart.partition import schemes
from gpart.partition.schemes import SCHEMES, balanced_table, iid_table, scheme_named, signed_magnitude_table

CPU = torch.device("cpu")


def test_the_hash_is_splitmix64() -> None:
    # The generator's first outputs from state 1234567, as published with it.
    assert [splitmix64(1234567 + i * 0x9E3779B97F4A7C15) for i in range(2)] == [
        6457827717110365317,
        3203168211198807973,
    ]


@pytest.mark.parametrize("seed", [0, 1, 42, 2**40 + 3, 2**63 - 2, 2**63, 2**64 - 1])
@pytest.mark.parametrize("d", [1, 7, 23040, 2**20, 2**31 - 1])
def test_hash_groups_are_unsigned(seed: int, d: int) -> None:
    positions = [0, 1, 2, 3, 1000, 2**31, 2**40 + 1]
    expected = [splitmix64((seed + p) % 2**64) % d for p in positions]
    assert hash_groups(torch.tensor(positions), d, seed).tolist() == expected
    # A batch of torch.func goes by torch's operations, as an accelerator's positions do.
    by_torch = torch.func.vmap(lambda position: hash_groups(position, d, seed))(torch.tensor(positions))
    assert by_torch.tolist() == expected


def test_hash_groups_of_any_number_and_layout() -> None:
    positions = torch.arange(3, 3 + 3 * 40_000).view(3, -1).t()
    groups = hash_groups(positions, 1000, 5)
    assert groups.shape == positions.shape
    assert [int(groups[row, column]) for row, column in ((0, 0), (39_999, 0), (17, 2))] == [
        splitmix64(5 + int(positions[row, column])) % 1000 for row, column in ((0, 0), (39_999, 0), (17, 2))
    ]


def test_an_interval_does_not_depend_on_chunks() -> None:
    start, stop = 5, schemes._AT_ONCE[True] + 1000
    whole = hash_groups(torch.arange(start, stop), 97, 3)
    assert torch.equal(SCHEMES["hash"].interval(start, stop, 97, 3, CPU).long(), whole)
    assert SCHEMES["hash"].interval(4, 4, 97, 3, CPU).shape == (0,)


def test_iid_continues_one_generator_from_layer_to_layer() -> None:
    generator = torch.Generator().manual_seed(9)
    expected = [torch.randint(0, 11, (n,), generator=generator, dtype=torch.int32) for n in (50, 3, 20)]
    assert torch.equal(iid_table(11, 9, [50, 3, 20]), torch.cat(expected))


@pytest.mark.parametrize(("n", "d"), [(100, 7), (100, 100), (100, 1), (64, 8)])
def test_balanced_cuts_one_permutation(n: int, d: int) -> None:
    groups = balanced_table(d, 4, [n - 10, 10])
    permutation = torch.randperm(n, generator=torch.Generator().manual_seed(4))
    in_order = groups[permutation]
    assert torch.equal(in_order, in_order.sort().values)
    sizes = torch.bincount(groups, minlength=d)
    assert sizes.tolist() == [n // d + 1] * (n % d) + [n // d] * (d - n % d)


def test_tables_that_do_not_fit_in_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemes.psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))
    with pytest.raises(ValueError, match=r"N=100 .* takes 2400 bytes of which 1000 are free.*scheme='hash'"):
        balanced_table(3, 0, [100])
    iid_table(7, 0, [60, 40])
    with pytest.raises(ValueError, match=r"'iid' draws all N=200 .* takes 1600 bytes of which 1000 are free"):
        iid_table(7, 0, [120, 80])


def test_signed_magnitude_keeps_neighbours_of_one_sign_together() -> None:
    weights = torch.tensor([0.5, -0.1, 0.0, -3.0, 2.0, 0.1, -0.2, 1.0, -0.0, 0.3])
    # Three of ten are negative: round(5 * 0.3) = 2 groups; seven others in three runs of 2, 2 and 3.
    assert signed_magnitude_table(weights, 5).tolist() == [4, 0, 2, 1, 4, 3, 1, 4, 2, 3]


@pytest.mark.parametrize(
    ("n_negative", "d", "k"), [(1, 4, 1), (99, 4, 3), (50, 7, 4), (50, 5, 2), (30, 10, 3), (13, 100, 13), (50, 99, 50)]
)
def test_signed_magnitude_gives_each_side_its_share_of_groups(n_negative: int, d: int, k: int) -> None:
    weights = torch.randperm(100, generator=torch.Generator().manual_seed(0)) + 1.0
    weights[torch.randperm(100, generator=torch.Generator().manual_seed(1))[:n_negative]] *= -1
    groups = signed_magnitude_table(weights, d)
    assert groups.dtype == torch.int32
    for side, own in ((weights < 0, range(k)), (weights >= 0, range(k, d))):
        in_order = groups[side][weights[side].abs().argsort()]
        assert torch.equal(in_order, in_order.sort().values)
        counts = torch.bincount(groups[side], minlength=d)[list(own)]
        assert counts.sum() == side.sum()
        assert counts.min() >= 1
        assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("sign", [1, -1])
def test_signed_magnitude_of_one_sign_and_of_one_group(sign: int) -> None:
    weights = sign * torch.tensor([4.0, 1.0, 3.0, 2.0])
    assert signed_magnitude_table(weights, 2).tolist() == [1, 0, 1, 0]
    assert signed_magnitude_table(torch.tensor([1.0, -1.0]), 1).tolist() == [0, 0]


def test_signed_magnitude_orders_equal_and_nearly_equal_weights_by_position() -> None:
    assert signed_magnitude_table(torch.ones(6), 3).tolist() == [0, 0, 1, 1, 2, 2]
    # The keys are 3 * 1.0 + 0 / 3 and 3 * size + 1 / 3.
    assert signed_magnitude_table(torch.tensor([1.0, 0.89]), 2).tolist() == [0, 1]
    assert signed_magnitude_table(torch.tensor([1.0, 0.88]), 2).tolist() == [1, 0]


def test_signed_magnitude_refuses_what_does_not_fit_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemes.psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))
    with pytest.raises(ValueError, match=r"'signed_magnitude' sorts all N=100 .* takes 5600 bytes of which 1000 are"):
        signed_magnitude_table(torch.ones(100), 3)


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    for scheme in SCHEMES.values():
        if scheme.table:
            scheme.table(5, 1, [40])
        elif scheme.of_weights:
            scheme.of_weights(torch.ones(40), 5)
        else:
            scheme.interval(0, 40, 5, 1, CPU)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_unknown_scheme_is_refused_with_those_known() -> None:
    with pytest.raises(ValueError, match=r"scheme: 'blok' is unknown; accepted are 'balanced', 'block', 'hash', 'iid'"):
        scheme_named("blok")
