"""Two processes that each see half of a batch train the vector that one process does with all of it."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tests.gpart.small_models import SMALL

SCHEMES = ("hash", "block")
STEPS, BATCH, PROCESSES = 5, 8, 2
VECTOR = "base_model.gpart_theta.default"


def trained(scheme: str, rank: int = 0, processes: int = 1) -> dict[str, Tensor]:
    """All trained parameters, and the start of the vector, after some steps on this process's part of each batch."""
    peft_model = SMALL["roberta"].adapted_model(scheme=scheme).train()
    for module in peft_model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # masks would differ between the halves of a batch and the whole
    parameters = {name: p for name, p in peft_model.named_parameters() if p.requires_grad}
    start = parameters[VECTOR].detach().clone()
    model: nn.Module = peft_model if processes == 1 else DistributedDataParallel(peft_model)
    head = [p for name, p in parameters.items() if name != VECTOR]
    optimizer = torch.optim.SGD([{"params": head}, {"params": [parameters[VECTOR]], "lr": 200}], lr=0.5, momentum=0.9)
    generator = torch.Generator().manual_seed(5)
    for _ in range(STEPS):
        ids = torch.randint(3, 50, (BATCH, 6), generator=generator)
        labels = torch.randint(0, 3, (BATCH,), generator=generator)
        optimizer.zero_grad()
        model(input_ids=ids[rank::processes], labels=labels[rank::processes]).loss.backward()
        optimizer.step()
    return {"start": start} | {name: p.detach() for name, p in parameters.items()}


def worker(rank: int, folder: str) -> None:
    """One process of the group; writes what each scheme came to."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=PROCESSES)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*find_unused_parameters")
        results = {scheme: trained(scheme, rank, PROCESSES) for scheme in SCHEMES}
    torch.save(results, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_come_to_the_vector_of_one(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(worker, args=(str(tmp_path),), nprocs=PROCESSES)  # type: ignore[no-untyped-call]
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(PROCESSES))
    for scheme in SCHEMES:
        alone = trained(scheme)
        assert list(first[scheme]) == list(alone)
        assert list(alone).count(VECTOR) == 1
        assert (alone[VECTOR] - alone["start"]).abs().max() > 1e-2
        for name, value in alone.items():
            assert torch.equal(first[scheme][name], second[scheme][name])
            torch.testing.assert_close(first[scheme][name], value, rtol=0, atol=1e-6)
