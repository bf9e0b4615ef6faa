"""One device for each process, whatever is visible."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers.training_args import ParallelMode

from experiments.commands import reevaluate
from experiments.configuration.spec import stored
from experiments.run import devices
from schema.record import Accelerators
from tests.experiments.runs import folder_of, loaded, run


@pytest.fixture
def arguments(tmp_path: Path) -> devices.OneDeviceArguments:
    """Arguments for a machine on which transformers has counted four devices."""
    made = devices.OneDeviceArguments(str(tmp_path), per_device_train_batch_size=16, use_cpu=True, report_to=[])
    assert made.n_gpu == 0, "none is used on the CPU"
    made._n_gpu = 4
    return made


def test_several_devices_are_reduced_to_one(arguments: devices.OneDeviceArguments) -> None:
    assert arguments.n_gpu == 1
    assert arguments.train_batch_size == 16, "the recipe's, not four times that"
    assert arguments.parallel_mode != ParallelMode.NOT_DISTRIBUTED, "which is DataParallel"


@pytest.mark.parametrize(("visible", "used", "said"), [(0, 0, False), (1, 1, False), (4, 1, True)])
def test_what_is_visible_and_not_used_is_said(visible: int, used: int, said: bool) -> None:
    counts = devices.accelerators(visible)
    assert counts == Accelerators(visible=visible, used=used)
    assert (devices.notice(counts) is not None) == said


def test_each_process_on_a_machine_uses_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert devices.accelerators(4) == Accelerators(visible=4, used=2)
    assert devices.notice(devices.accelerators(2)) is None


def test_the_record_says_how_many_were_visible_and_used(tiny: list[str]) -> None:
    result = run(*tiny, "method=head", "task=glue/sst2", "recipe.epochs=1")
    assert result["provenance"]["accelerators"] == devices.accelerators(torch.accelerator.device_count()).model_dump()


@pytest.mark.parametrize("method", ["head", "gpart"])
def test_a_run_and_what_is_made_of_it_again_are_on_the_accelerator(
    method: str, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run(*tiny, f"method={method}", "task=glue/sst2", "recipe.epochs=1")
    folder = folder_of(tmp_path / "outputs", result["id"])
    # The one device besides the CPU that is everywhere stands for an accelerator; nothing is computed on it here.
    monkeypatch.setattr(devices, "device", lambda: torch.device("meta"))
    monkeypatch.setattr(reevaluate, "device", lambda: torch.device("meta"))
    subject = loaded(stored(result["config"]))
    again = reevaluate.reload(folder, {})
    for adapted in (subject.adapted, again.adapted):
        assert all(parameter.is_meta for parameter in adapted.model.parameters())


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_out_of_memory_is_told_from_other_errors(error: BaseException, memory: bool) -> None:
    assert devices.is_out_of_memory(error) == memory
