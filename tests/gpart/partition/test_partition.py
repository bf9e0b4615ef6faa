from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from gpart import AdaptedLayer, Partition
from gpart.partition.schemes import SCHEMES

SIZES = [400, 120, 480]
N, D = sum(SIZES), 40
# Two blocks, whose order is not that of the layers, and not that of their names as text.
IN_BLOCKS: dict[str, Any] = {"scope": "transformer_block", "blocks": ["h.10", "h.2", "h.10"]}
SCOPE = pytest.mark.parametrize("scope", [{}, IN_BLOCKS], ids=["global", "transformer_block"])


def weights(sizes: list[int] = SIZES) -> list[Tensor]:
    return list(torch.randn(sum(sizes), generator=torch.Generator().manual_seed(8)).split(sizes))


def partition(scheme: str, **changes: Any) -> Partition:
    values: dict[str, Any] = {"scheme": scheme, "d": D, "seed": 5, "layer_sizes": SIZES}
    if scheme == "signed_magnitude":
        values["weights"] = weights()
    return Partition(**{**values, **changes})


def matrix(p: Partition) -> Tensor:
    """P, (N, d), in float64."""
    return torch.stack([p.project(unit) for unit in torch.eye(p.d, dtype=torch.float64)], dim=1)


@SCOPE
@pytest.mark.parametrize("scheme", SCHEMES)
def test_columns_are_orthonormal(scheme: str, scope: dict[str, Any]) -> None:
    p = partition(scheme, **scope)
    assert p.dead == 0
    dense = matrix(p)
    assert (dense.T @ dense - torch.eye(D, dtype=torch.float64)).abs().max() <= 1e-12
    assert torch.equal((dense != 0).sum(1), torch.ones(N, dtype=torch.int64))
    theta = torch.randn(D, dtype=torch.float64)
    torch.testing.assert_close(p.project(theta).norm(), theta.norm(), rtol=1e-12, atol=0)


@SCOPE
@pytest.mark.parametrize("scheme", SCHEMES)
def test_without_isometry_columns_have_the_sizes_of_their_groups(scheme: str, scope: dict[str, Any]) -> None:
    p = partition(scheme, isometric=False, **scope)
    dense = matrix(p)
    assert torch.equal(dense.T @ dense, torch.diag(p.group_sizes.double()))


@pytest.mark.parametrize("scheme", ["hash", "iid"])
def test_empty_groups_are_zeros_of_the_gram_matrix_and_reported(scheme: str) -> None:
    p = partition(scheme, d=700)
    with pytest.warns(UserWarning, match=rf"of d=700 coordinates reach none of the N={N} adapted weights.*balanced"):
        dead = p.dead
    assert dead > 0
    dense = matrix(p)
    alive = (p.group_sizes > 0).double()
    assert (dense.T @ dense - torch.diag(alive)).abs().max() <= 1e-12
    assert int((alive == 0).sum()) == dead == 700 - len(set(p.group_ids(0, N).tolist()))


@SCOPE
@pytest.mark.parametrize("scheme", [name for name, scheme in SCHEMES.items() if scheme.fills])
def test_no_group_is_empty(scheme: str, scope: dict[str, Any]) -> None:
    assert {"balanced", "block", "signed_magnitude"} == {name for name, scheme in SCHEMES.items() if scheme.fills}
    for d in (2, D, 97, 239, 240):
        p = partition(scheme, d=d, **scope)
        assert p.group_sizes.min() >= 1
        assert p.dead == 0
    if not scope:
        assert partition(scheme, d=N).group_sizes.tolist() == [1] * N


def test_balanced_leaves_no_group_empty() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert partition("balanced", d=N).dead == 0
        assert partition("balanced", d=N - 1).group_sizes.tolist() == [2] + [1] * (N - 2)


@SCOPE
@pytest.mark.parametrize("isometric", [True, False])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_projection_and_adjoint_agree(scheme: str, isometric: bool, scope: dict[str, Any]) -> None:
    p = partition(scheme, isometric=isometric, **scope)
    theta, delta = torch.randn(D, dtype=torch.float64), torch.randn(N, dtype=torch.float64)
    torch.testing.assert_close(p.project(theta) @ delta, theta @ p.adjoint(delta), rtol=1e-12, atol=1e-12)
    dense = matrix(p)
    torch.testing.assert_close(p.project(theta), dense @ theta, rtol=1e-12, atol=0)
    torch.testing.assert_close(p.adjoint(delta), dense.T @ delta, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_block_is_a_partition_of_its_own(scheme: str) -> None:
    p, own = partition(scheme, d=41, **IN_BLOCKS), weights()
    given: list[dict[str, Any]] = [{}, {}]
    if scheme == "signed_magnitude":
        given = [{"weights": [own[1]]}, {"weights": [own[0], own[2]]}]
    # 21 of 41 coordinates and the seed go to the block with the lower number, 20 and the next seed to the other.
    low = Partition(scheme=scheme, d=21, seed=5, layer_sizes=[120], **given[0])
    high = Partition(scheme=scheme, d=20, seed=6, layer_sizes=[400, 480], **given[1])
    ids = p.group_ids(0, N)
    assert torch.equal(ids[400:520], low.group_ids(0, 120))
    assert torch.equal(torch.cat([ids[:400], ids[520:]]), high.group_ids(0, 880) + 21)
    assert torch.equal(p.group_sizes, torch.cat([low.group_sizes, high.group_sizes]))
    assert p.cached_bytes <= 4 * N


def test_the_last_seed_is_followed_by_the_first() -> None:
    p = partition("hash", seed=2**64 - 1, **IN_BLOCKS)
    assert torch.equal(p.group_ids(0, 400), partition("hash", d=20, seed=0).group_ids(0, 400) + 20)


def test_projection_is_differentiable_and_its_gradient_is_the_adjoint() -> None:
    p = partition("hash")
    theta = torch.randn(D, dtype=torch.float64, requires_grad=True)
    delta = torch.randn(N, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(p.project(theta) @ delta, theta)
    torch.testing.assert_close(gradient, p.adjoint(delta), rtol=1e-12, atol=1e-14)


def test_half_precision_is_widened() -> None:
    p = partition("hash")
    theta = torch.randn(D).bfloat16()
    assert p.project(theta).dtype == torch.float32
    torch.testing.assert_close(p.project(theta), p.project(theta.float()), rtol=0, atol=0)


@SCOPE
@pytest.mark.parametrize("scheme", SCHEMES)
def test_any_interval_of_ids(scheme: str, scope: dict[str, Any]) -> None:
    p = partition(scheme, **scope)
    whole = p.group_ids(0, N)
    assert whole.dtype == torch.int64
    assert whole.shape == (N,)
    assert torch.equal(p.group_ids(390, 530), whole[390:530])
    assert torch.equal(torch.cat([p.layer_ids(i, torch.device("cpu")) for i in range(3)]).long(), whole)
    assert torch.equal(p.group_sizes, torch.bincount(whole, minlength=D))
    with pytest.raises(ValueError, match=rf"start, stop: 0, {N + 1}; accepted"):
        p.group_ids(0, N + 1)


def test_scale_is_one_over_the_root_of_the_size_in_the_type_asked_for() -> None:
    p = partition("hash")
    for dtype in (torch.float32, torch.float64):
        assert torch.equal(p.scale(dtype), 1 / torch.sqrt(p.group_sizes.to(dtype)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"d": N + 1}, rf"d: {N + 1} exceeds the N={N} adapted weights"),
        ({"d": 0}, r"d: 0; accepted are integers from 1"),
        ({"d": -1}, r"d: -1; accepted"),
        ({"d": 1.5}, r"d: 1\.5; accepted"),
        ({"d": True}, r"d: True; accepted"),
        ({"seed": -1}, r"seed: -1; accepted are integers from 0 to 2\*\*64 - 1"),
        ({"seed": 2**64}, r"seed: 18446744073709551616; accepted"),
        ({"scheme": "blok"}, r"'blok' is unknown; accepted are 'balanced', 'block', 'hash', 'iid', 'signed_magn"),
        ({"scheme": "block", "cache_ids": True}, r"cache_ids: True; accepted with scheme='block'"),
        ({"scope": "transformer_block"}, r"blocks: None; accepted .* each of the 3 layers"),
        ({"scope": "transformer_block", "blocks": ["a.0"]}, r"blocks: 1 names; accepted .* each of the 3 layers"),
        ({"blocks": ["a.0"] * 3}, r"blocks: 3 names; accepted with scope='global' is None"),
        ({**IN_BLOCKS, "d": 1}, r"d: 1; accepted with scope='transformer_block' is one or more for each of 2 blocks"),
        ({**IN_BLOCKS, "d": 241}, r"d: 241 gives 121 coordinates to the block 'h.2', which has 120 adapted weights"),
        ({"scope": "layer"}, r"scope: 'layer'; accepted are 'global', 'transformer_block'"),
        ({"scheme": "iid", "cache_ids": False}, r"cache_ids: False; accepted with scheme='iid'"),
        ({"scheme": "signed_magnitude", "weights": None}, "weights: missing; accepted .* are the 3 of all layers"),
        ({"scheme": "signed_magnitude", "weights": [torch.ones(1000)]}, r"have sizes 1000 \(1 in all\); accepted are"),
        ({"weights": [torch.ones(size) for size in SIZES]}, "weights: given; accepted with scheme='hash' is None"),
        ({"layer_sizes": None}, r"layers, layer_sizes: exactly one"),
    ],
)
def test_bad_values_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        partition(**{"scheme": "hash", **changes})


def test_wrong_shapes_are_named() -> None:
    p = partition("hash")
    with pytest.raises(ValueError, match=rf"theta: has shape \(3,\); accepted is \({D},\)"):
        p.project(torch.zeros(3))
    with pytest.raises(ValueError, match=rf"delta: has shape \({D},\); accepted is \({N},\)"):
        p.adjoint(torch.zeros(D))


LAYERS = [AdaptedLayer("a.query", (20, 20)), AdaptedLayer("a.value", (6, 20)), AdaptedLayer("b.query", (24, 20))]
OTHERS: list[tuple[dict[str, Any], str]] = [
    ({"seed": 6}, "seed is 5 in the checkpoint and 6 here"),
    ({"d": 41}, "d is 40 in the checkpoint and 41 here"),
    ({"scheme": "iid"}, "scheme is 'hash' in the checkpoint and 'iid' here"),
    ({"isometric": False}, "isometric is True in the checkpoint and False here"),
    ({"layers": [LAYERS[1], LAYERS[0], LAYERS[2]]}, "number 0 is a.query 20x20 in the checkpoint and a.value 6x20"),
    ({"layers": [LAYERS[0]._replace(name="a.key"), *LAYERS[1:]]}, "a.query 20x20 in the checkpoint and a.key 20x20 he"),
    ({"layers": [LAYERS[0]._replace(shape=(10, 40)), *LAYERS[1:]]}, "a.query 20x20 in the checkpoint and a.query 10x"),
    ({"layers": [*LAYERS, LAYERS[0]]}, f"N is {N} in the checkpoint and {N + 400} here; adapted are 3 layers in"),
]


@pytest.mark.parametrize(("changes", "reason"), OTHERS)
def test_another_partition_has_another_digest_and_says_why(changes: dict[str, Any], reason: str) -> None:
    values: dict[str, Any] = {"d": D, "seed": 5, "layers": LAYERS}
    saved, other = Partition(**values), Partition(**{**values, **changes})
    assert saved.digest != other.digest
    assert reason in other.mismatch(saved.manifest)
    assert other.mismatch(saved.stamp)
    if "layers" not in changes:
        assert reason in other.mismatch(saved.stamp)
    again = Partition(**values)
    assert not again.mismatch(saved.manifest)
    assert not again.mismatch(saved.stamp)


def test_weights_without_values_make_a_plan_without_groups() -> None:
    p = partition("signed_magnitude", weights=[weight.to("meta") for weight in weights()])
    assert (p.n, p.cached_bytes, p.dead) == (N, 0, 0)
    for ask in (lambda: p.digest, lambda: p.group_sizes, lambda: p.group_ids(0, 1), lambda: p.project(torch.zeros(D))):
        with pytest.raises(ValueError, match=r"weights: are on the meta device; accepted .* with values"):
            ask()


def test_other_blocks_have_another_digest_and_say_why() -> None:
    blocks = ["h.0", "h.1", "h.1"]
    saved = Partition(d=D, layers=LAYERS, scope="transformer_block", blocks=blocks)
    for other, reason in (
        (Partition(d=D, layers=LAYERS), "scope is 'transformer_block' in the checkpoint and 'global' here"),
        (
            Partition(d=D, layers=LAYERS, scope="transformer_block", blocks=["h.0", "h.1", "h.2"]),
            "blocks is '2, from h.0 to h.1' in the checkpoint and '3, from h.0 to h.2' here",
        ),
        (Partition(d=D, layers=LAYERS, scope="transformer_block", blocks=["h.0", "h.0", "h.1"]), "groups are not"),
    ):
        assert saved.digest != other.digest
        assert reason in other.mismatch(saved.manifest)
        assert reason in other.mismatch(saved.stamp)
    assert not Partition(d=D, layers=LAYERS, scope="transformer_block", blocks=blocks).mismatch(saved.manifest)


def test_groups_that_changed_under_the_same_definition_are_noticed() -> None:
    p = partition("iid")
    manifest = p.manifest
    drifted = partition("iid")
    table = drifted._assignments[0]._table
    table[17] = (table[17] + 1) % D
    assert drifted.mismatch(manifest) == drifted.mismatch(p.stamp) != ""
    assert "torch draws other random numbers" in drifted.mismatch(manifest)


def test_other_base_weights_are_noticed() -> None:
    """Even by a change of one weight that leaves every group as it is."""
    p, changed = partition("signed_magnitude"), weights()
    changed[1][7] *= 1 + 1e-6
    other = partition("signed_magnitude", weights=changed)
    assert torch.equal(p.group_ids(0, N), other.group_ids(0, N))
    assert p.digest != other.digest
    for stored in (p.manifest, p.stamp):
        assert other.mismatch(stored).startswith("sha256 of the base weights, of which the groups are made, is '")
        assert not partition("signed_magnitude", weights=[weight.double() for weight in weights()]).mismatch(stored)


def test_weights_are_read_once_and_travel_as_groups() -> None:
    read = weights()
    p = partition("signed_magnitude", weights=read)
    ids = p.group_ids(0, N)
    for weight in read:
        weight.zero_()
    loaded = pickle.loads(pickle.dumps(p))
    assert torch.equal(p.group_ids(0, N), ids)
    assert torch.equal(loaded.group_ids(0, N), ids)
    assert loaded.digest == p.digest == partition("signed_magnitude").digest


@pytest.mark.parametrize("digest", [None, "", "0" * 64])
def test_a_manifest_without_its_digest_is_refused(digest: str | None) -> None:
    p = partition("hash")
    assert p.mismatch({**p.manifest, "digest": digest})


def test_copies_share_and_pickles_leave_the_caches_behind() -> None:
    p = partition("iid")
    sizes = p.group_sizes
    assert copy.deepcopy(p) is p
    stored = pickle.dumps(p)
    assert len(stored) < 1500
    loaded = pickle.loads(stored)
    assert loaded.digest == p.digest
    assert torch.equal(loaded.group_sizes, sizes)


def test_ids_are_kept_or_computed_as_asked() -> None:
    kept, computed, table = partition("hash"), partition("hash", cache_ids=False), partition("balanced")
    for p in (kept, computed):
        assert int(p.group_sizes.sum()) == N
        assert p.cached_bytes == 0, "counting keeps nothing: a plan may be of more weights than fit in memory"
    for p in (kept, computed, table):
        p.project(torch.zeros(D))
    assert kept.cached_bytes == table.cached_bytes == 4 * N
    assert computed.cached_bytes == 0
    theta = torch.randn(D)
    assert torch.equal(kept.project(theta), computed.project(theta))


@SCOPE
@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_is_cached_in_inference_mode_serves_training(scheme: str, scope: dict[str, Any]) -> None:
    with torch.inference_mode():
        p = partition(scheme, **scope)
        p.layer_ids(0, torch.device("cpu"))
        p.project(torch.zeros(D))
    theta = torch.randn(D, requires_grad=True)
    p.project(theta).square().sum().backward()
    torch.testing.assert_close(theta.grad, 2 * theta.detach())


@SCOPE
@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_is_cached_inside_a_transform_outlives_it(scheme: str, scope: dict[str, Any]) -> None:
    p, theta = partition(scheme, **scope), torch.randn(D)

    def slope(value: Tensor) -> Tensor:
        result: Tensor = torch.func.grad(lambda t: p.project(t).square().sum())(value)
        return result

    torch.testing.assert_close(torch.func.grad(lambda t: slope(t).sum())(theta), torch.full((D,), 2.0))
    caches = [p.layer_ids(0, theta.device), p.scale(theta.dtype), p.group_sizes]
    assert not any(torch._C._functorch.is_functorch_wrapped_tensor(cache) for cache in caches)


def weights_for(scheme: str, layers: list[AdaptedLayer]) -> dict[str, Any]:
    return (
        {"weights": weights([size for layer in layers for size in layer.sizes])} if scheme == "signed_magnitude" else {}
    )


# Raise the scheme's version when one of these changes: checkpoints made before would otherwise load into other groups.
GOLDEN = {
    "balanced": "0056538d0349cde1e8a5b3e03114ecbb2c22af45852f9f931577470413e078d8",
    "block": "a5d302a99b4d4f7a061dcc448130076e94f48f09ec29acfa0dc782d2b13ab843",
    "hash": "ecdae30c5e9fb7b86fd1c6863455a05dcaa2bfc15b4afc018219c05c6c13dee6",
    "iid": "4265a5cf2f9dff6aa19a582d5d17fd813c55cf39a2c89d8e9de785163efc99c0",
    "signed_magnitude": "e771d6e6e0462778449bbf24aafad4c8fabc865e6f894681f2a7d6f2337b3a0b",
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_digests_do_not_change(scheme: str) -> None:
    layers = [AdaptedLayer("query", (384, 384)), LAYERS[0]]
    p = partition(scheme, d=4608, seed=42, layers=layers, layer_sizes=None, **weights_for(scheme, layers))
    assert p.digest == GOLDEN[scheme]
