from __future__ import annotations

from gpart import schemes
from gpart.hashing import hash_groups, splitmix64
from gpart.schemes import SCHEMES, balanced_table, iid_table, scheme_named

from types import SimpleNamespace

import pytest
import torch

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


def test_an_interval_does_not_depend_on_chunks() -> None:
    start, stop = 5, schemes._CHUNK + 1000
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


def test_balanced_refuses_what_does_not_fit_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemes.psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))
    with pytest.raises(ValueError, match=r"N=100 .* takes 2400 bytes of which 1000 are free.*scheme='hash'"):
        balanced_table(3, 0, [100])


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    for scheme in SCHEMES.values():
        if scheme.table:
            scheme.table(5, 1, [40])
        else:
            scheme.interval(0, 40, 5, 1, CPU)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_unknown_scheme_is_refused_with_those_known() -> None:
    with pytest.raises(ValueError, match=r"scheme: 'blok' is unknown; accepted are 'balanced', 'block', 'hash', 'iid'"):
        scheme_named("blok")
