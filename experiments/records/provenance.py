"""Where a result comes from: code, package versions, hardware. Recorded, never part of a run's identity."""

from __future__ import annotations

import os
import platform
import resource
import sys
from importlib import metadata
from pathlib import Path

import torch

from experiments.records.checkout import git_state
from experiments.records.record import now
from experiments.run import processes
from experiments.run.devices import accelerators
from schema.record import Hardware, Provenance

_PACKAGES = (
    *("torch", "torchvision", "transformers", "peft", "accelerate", "timm", "tokenizers", "safetensors"),
    *("huggingface-hub", "datasets", "evaluate", "numpy", "pandas", "pyarrow", "pillow", "scikit-learn", "scipy"),
)
"""Every package that a number goes through, by the name it is installed under."""


def collect(references: Provenance, determinism: str) -> Provenance:
    """Git state, package versions, hardware and thread count, at the beginning of an attempt.

    Args:
        references: says what data and weights are.
        determinism: the level the run was made at ("off", "warn" or "strict").
    """
    git_sha, git_dirty = git_state()
    return Provenance(
        started=now(),
        git_sha=git_sha,
        git_dirty=git_dirty,
        packages={"python": platform.python_version(), **{name: metadata.version(name) for name in _PACKAGES}},
        hardware=hardware(),
        accelerators=accelerators(torch.accelerator.device_count()),
        processes=processes.size(),
        threads=torch.get_num_threads(),
        determinism=determinism,
        data_reference=references.data_reference,
        backbone_reference=references.backbone_reference,
    )


def hardware() -> Hardware:
    """Processor and accelerator names, cores and memory (bytes)."""
    return Hardware(
        processor=_processor(),
        instruction_set=torch.backends.cpu.get_cpu_capability(),
        cores=os.cpu_count(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        accelerator=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        platform=sys.platform,
    )


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def peak_memory_bytes() -> int:
    """The most memory that this process (on an accelerator: its tensors) has held at once, in bytes."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
