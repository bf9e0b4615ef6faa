"""The loss around trained values: directions, lattices, the very loss of training, and a model left as it was."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from torch import Tensor, nn
from torch.utils.data import Subset
from transformers import TrainerControl, TrainerState, TrainingArguments

from baselines import Adapted
from experiments import families
from experiments.configuration.overrides import CONF
from experiments.configuration.spec import parse
from experiments.data import sources
from experiments.data.weights import weights_of
from experiments.diagnostics.curvature import Hessian
from experiments.diagnostics.landscape import filter_normalised, measure_landscape, path_positions, positions
from experiments.diagnostics.snapshots import Snapshots
from experiments.diagnostics.training_loss import TrainingLoss, at_rest
from experiments.families.family import Examples, Family
from experiments.run import preflight, training
from schema.diagnostics import Diagnostics
from schema.run import RunSpec
from tests.experiments.families.vision.small_vits import as_timm, save_timm_vit, save_transformers_vit
from tests.experiments.run.conftest import image_folder, images, llama, sums, vit, words  # noqa: F401  fixtures
from tests.experiments.runs import folder_of, recorded

SMALL = [
    "diagnostics=landscape",
    "diagnostics.rows=20",
    "diagnostics.grid=5",
    "diagnostics.directions=3",
    "diagnostics.eigenvalues=2",
]


def test_a_direction_has_the_norms_of_the_values_filter_by_filter() -> None:
    generator = torch.Generator().manual_seed(0)
    matrix, vector, kernel = torch.randn(4, 6), torch.randn(5), torch.randn(3, 2, 2, 2)
    matrix[1] = 0
    scalar, zeros = torch.tensor(-2.0), torch.zeros(3)
    parameters = [matrix, vector, kernel, scalar, zeros]
    direction = filter_normalised(parameters, generator)
    parts = direction.split([p.numel() for p in parameters])
    assert torch.allclose(parts[0].view(4, 6).norm(dim=1), matrix.norm(dim=1))
    assert not parts[0].view(4, 6)[1].any()
    assert torch.allclose(parts[1].norm(), vector.norm())
    assert torch.allclose(parts[2].view(3, 8).norm(dim=1), kernel.view(3, 8).norm(dim=1))
    assert abs(parts[3]) == 2
    assert not parts[4].any()
    assert not torch.equal(filter_normalised(parameters, generator), direction)


@pytest.mark.parametrize("grid", [3, 5, 11, 13])
def test_lattices_hold_the_points_that_are_compared(grid: int) -> None:
    axis, line = positions(grid, 0.7), path_positions(grid)
    assert len(axis) == grid
    assert (axis[0], axis[grid // 2], axis[-1]) == pytest.approx((-0.7, 0, 0.7))
    assert axis[grid // 2] == 0
    assert (line[0], line[-1]) == (-0.5, 1.5)
    assert {0.0, 1.0} <= set(line)


def prepared(*overrides: str) -> tuple[RunSpec, Family, Examples, Adapted]:
    """What a run has before training, with trained values moved away from their start."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        spec = parse(compose("config", [*overrides]))[0]
    source = sources.source_of(spec.task, spec.data)
    family = families.family_of(spec, weights_of(spec.backbone, timeout=1), source.classes)
    splits = sources.load(source, spec)
    examples = family.examples(splits.train, "train")
    adapted = preflight.adapted(spec, family.load(spec.seeds.head))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for _, parameter in adapted.adapter_parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return spec, family, examples, adapted


def trainer_loss(spec: RunSpec, family: Family, examples: Examples, adapted: Adapted, folder: Path) -> float:
    """The loss of all examples as one batch, as `Trainer` feeds and computes it, with dropout off."""
    run = training.trainer(spec, adapted, family, examples, examples, folder)
    run._train_batch_size = len(examples)  # type: ignore[arg-type]
    (batch,) = run.get_eval_dataloader(examples)
    with torch.no_grad():
        return float(run.compute_loss(adapted.model.eval(), run._prepare_inputs(batch)))


@pytest.mark.parametrize(
    ("fixture", "overrides"),
    [
        ("tiny", ["task=glue/sst2"]),
        ("tiny", ["task=glue/sst2", "recipe.label_smoothing=0.3", "backbone.pooling=mean"]),
        ("tiny", ["task=glue/mrpc", "backbone.pooling=mean"]),
        ("tiny", ["task=glue/stsb"]),
        ("images", []),
        ("images", ["+task.mixing.mixup_alpha=0.8"]),
        ("words", []),
        ("words", ["++task.packing=true"]),
        ("words", ["recipe.label_smoothing=0.3"]),
    ],
)
def test_the_loss_is_what_the_trainer_computes(
    fixture: str, overrides: list[str], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    whole = ["recipe.dropout=0.5", "method=gpart", "recipe.eval_batch_size=10000"]
    # Mixing draws by batch, so there one batch is compared; everywhere else several with the one that they make up.
    size = "10000" if any("mixing" in override for override in overrides) else "7"
    spec, family, examples, adapted = prepared(
        *request.getfixturevalue(fixture), *overrides, *whole, f"recipe.batch_size={size}"
    )
    with at_rest(adapted):
        loss = TrainingLoss(adapted, family, examples, rows=10000, seed=0)
        measured = loss.at(loss.values())
    assert loss.rows == len(examples)  # type: ignore[arg-type]
    if size != "7":
        examples = Subset(examples, torch.randperm(loss.rows, generator=torch.Generator().manual_seed(0)).tolist())
    assert measured == pytest.approx(trainer_loss(spec, family, examples, adapted, tmp_path), rel=1e-5)


def state(adapted: Adapted) -> list[Any]:
    """Everything about a model that a measurement could disturb."""
    model = adapted.model
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return [
        {name: (tensor.clone(), tensor.dtype, tensor.requires_grad) for name, tensor in tensors.items()},
        {name: module.training for name, module in model.named_modules()},
        [parameter.grad for parameter in model.parameters()],
        model.__dict__.get("forward"),
        torch.get_rng_state(),
    ]


def same(left: Any, right: Any) -> bool:
    if isinstance(left, Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    return bool(left == right)


@pytest.mark.parametrize("method", ["gpart", "lora"])
def test_a_landscape_is_exact_where_it_must_be_and_leaves_the_model_as_it_was(method: str, tiny: list[str]) -> None:
    spec, family, examples, adapted = prepared(*tiny, "task=glue/sst2", f"method={method}", *SMALL)
    snapshots = Snapshots(adapted, 2)
    snapshots.on_train_begin(*training_start())
    adapted.model.train()
    adapted.model.base_model.eval()  # modes differ between modules
    adapted.model.forward = wrapped(adapted.model)
    with torch.no_grad():
        for _, parameter in adapted.adapter_parameters():
            parameter *= 1.5
    before = state(adapted)
    options = spec.diagnostics
    measured = measure_landscape(adapted, snapshots, family, examples, options)
    assert same(before, state(adapted))
    surface, path = measured.surface, measured.path
    assert measured.rows == 20
    assert surface.loss[2][2] == measured.loss
    assert path.loss[path.alpha.index(1)] == measured.loss
    assert [len(curve.loss) for curve in measured.curves] == [5] * options.directions
    with at_rest(adapted):
        loss, generator = TrainingLoss(adapted, family, examples, rows=20, seed=0), torch.Generator().manual_seed(0)
        kept = loss.values()
        values = adapted_values(adapted)
        directions = [filter_normalised(values, generator) for _ in measured.curves]
        for curve, direction in zip(measured.curves, directions, strict=True):
            assert curve.loss == [loss.at(kept + alpha * direction) for alpha in curve.alpha]
        assert surface.loss[0][3] == loss.at(kept - directions[0] + 0.5 * directions[1])
    with torch.no_grad():
        for name, parameter in adapted.adapter_parameters():
            parameter.copy_(snapshots.taken[0].values[name])
    with at_rest(adapted):
        loss = TrainingLoss(adapted, family, examples, rows=20, seed=0)
        assert path.loss[path.alpha.index(0)] == loss.at(loss.values())


def adapted_values(adapted: Adapted) -> list[Tensor]:
    return [parameter.detach().clone() for _, parameter in adapted.adapter_parameters()]


def test_a_seed_gives_one_landscape(tiny: list[str]) -> None:
    spec, family, examples, adapted = prepared(*tiny, "task=glue/sst2", "method=gpart", *SMALL)
    snapshots = Snapshots(adapted, 2)
    snapshots.on_train_begin(*training_start())
    first, again, other = (
        measure_landscape(adapted, snapshots, family, examples, spec.diagnostics.model_copy(update={"seed": seed}))
        for seed in (0, 0, 1)
    )
    assert first.model_copy(update={"seconds": again.seconds}) == again
    for part in ("loss", "surface", "curves"):
        assert getattr(other, part) != getattr(first, part)


def training_start() -> tuple[Any, ...]:
    return TrainingArguments(report_to=[]), TrainerState(max_steps=10), TrainerControl()


def wrapped(model: nn.Module) -> Callable[..., Any]:
    """Half precision around the forward, as training in bfloat16 leaves it."""
    inner = model.forward

    def forward(*arguments: Any, **inputs: Any) -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return inner(*arguments, **inputs)

    return forward


def test_the_curvature_of_a_run_is_that_of_its_surface(tiny: list[str]) -> None:
    _, family, examples, adapted = prepared(*tiny, "task=glue/sst2", "method=gpart")
    with at_rest(adapted):
        loss = TrainingLoss(adapted, family, examples, rows=30, seed=0)
        hessian = Hessian([partial(loss.term, *term) for term in loss.terms], loss.parameters)
        kept = loss.values()
        direction = torch.randn(len(kept), generator=torch.Generator().manual_seed(0))
        (product,) = hessian(direction.double().numpy()[None])
        step = 0.5
        second = (loss.at(kept + step * direction) - 2 * loss.at(kept) + loss.at(kept - step * direction)) / step**2
    assert float(direction.double().numpy() @ product) == pytest.approx(second, rel=0.05)


@pytest.mark.parametrize("method", ["gpart", "lora"])
def test_a_run_with_a_landscape_is_the_same_run(method: str, tiny: list[str], tmp_path: Path) -> None:
    overrides = [*tiny, "task=glue/sst2", f"method={method}", "recipe.dropout=0.1"]
    plain = recorded(*overrides)
    assert plain.diagnostics == Diagnostics()
    measured = recorded(*overrides, *SMALL, f"outputs={tmp_path / 'measured'}")
    for key in ("id", "metrics", "history", "round_trip", "sizes"):
        assert getattr(measured, key) == getattr(plain, key)
    landscape = measured.diagnostics.landscape
    assert (landscape.status, landscape.reason) == ("measured", None)
    hessian = landscape.hessian
    assert hessian.method == ("dense" if plain.sizes.theta <= 300 else "matrix-free")
    assert hessian.largest == sorted(hessian.largest, reverse=True)
    assert hessian.smallest == sorted(hessian.smallest)
    assert hessian.largest[-1] > hessian.smallest[-1]
    assert folder_of(tmp_path / "measured", measured.id)


@pytest.mark.parametrize(("fixture", "overrides"), [("images", ["recipe.precision=bfloat16"]), ("words", [])])
def test_images_and_language(fixture: str, overrides: list[str], request: pytest.FixtureRequest) -> None:
    result = recorded(
        *request.getfixturevalue(fixture), "method=gpart", "recipe.d=48", "recipe.epochs=1", *overrides, *SMALL
    )
    landscape = result.diagnostics.landscape
    assert landscape.status == "measured", landscape.reason
    assert landscape.surface.loss[2][2] == landscape.loss
    assert landscape.hessian.method == "dense"


def test_split_attention_of_timm_has_a_curvature(images: list[str], tmp_path: Path) -> None:  # noqa: F811
    save_timm_vit(tmp_path / "timm", as_timm(save_transformers_vit(tmp_path / "same").state_dict()))
    changes = ["backbone.library=timm", "backbone.split_qkv=true", "backbone.head=[timm_model.head]"]
    result = recorded(*images, *changes, f"backbone.path={tmp_path / 'timm'}", "method=gpart", "recipe.d=48", *SMALL)
    landscape = result.diagnostics.landscape
    assert landscape.status == "measured", landscape.reason


def test_a_head_alone_has_no_landscape(tiny: list[str]) -> None:
    result = recorded(*tiny, "task=glue/sst2", "method=head", "recipe.epochs=1", *SMALL)
    landscape = result.diagnostics.landscape
    assert landscape.status == "not applicable"
    assert landscape.reason == "the method trains nothing beside the head"
