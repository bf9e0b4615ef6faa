"""Training steps of a model with random weights: one method applied to it, one batch and an optimizer."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from typing_extensions import override

from experiments.bench.contender import Contender
from experiments.bench.measured import Sizes, Turn
from experiments.bench.setting import Job

if TYPE_CHECKING:
    from peft import PeftModel

    from baselines import Adapted

_ROOT = Path(__file__).resolve().parent.parent.parent


class Training(Contender):
    """A classifier that trains.

    Attributes:
        adapted: the model under one of the suite's methods, or None.
        theirs: the model that the authors' code adapted, or None.
        model: what trains.
    """

    adapted: Adapted | None = None
    theirs: PeftModel | None = None

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.model: torch.nn.Module
        if job.authors:
            self.theirs, started = self._authors(Path(job.authors))
            self.model = self.theirs
        else:
            self.adapted, started = self._own()
            self.model = self.adapted.model
        self.init_seconds = time.perf_counter() - started
        self.model.train()
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.trainable = sum(parameter.numel() for parameter in trained)
        self.optimizer = torch.optim.AdamW(trained, lr=1e-4)
        self.inputs = self._batch()

    def _batch(self) -> dict[str, torch.Tensor]:
        """`input_ids` and `attention_mask`, (batch, length), and `labels`, (batch,)."""
        assert self.job.batch is not None
        assert self.job.length is not None
        shape, architecture = (self.job.batch, self.job.length), self.job.architecture
        ids = torch.randint(5, architecture.vocab_size, shape, device=self.device)
        labels = torch.randint(0, architecture.num_labels, shape[:1], device=self.device)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}

    def _backbone(self) -> torch.nn.Module:
        from transformers import AutoConfig, AutoModelForSequenceClassification

        config = AutoConfig.for_model(**self.job.architecture.model_dump(exclude_unset=True))
        model: torch.nn.Module = AutoModelForSequenceClassification.from_config(config)
        return model.to(self.device)

    def _own(self) -> tuple[Adapted, float]:
        import baselines

        model, method, started = self._backbone(), self.method(), time.perf_counter()
        return baselines.adapt(model, method, head=self.job.head, init_seed=0), started

    def _authors(self, folder: Path) -> tuple[PeftModel, float]:
        """Their code, imported under the name that it shares with PEFT, which nothing may have imported before."""
        shim = importlib.util.spec_from_file_location("_torchvision", _ROOT / "gpart" / "_torchvision.py")
        assert shim is not None
        assert shim.loader is not None
        module = importlib.util.module_from_spec(shim)
        shim.loader.exec_module(module)
        module.ensure_torchvision()
        sys.path.insert(0, str(folder))
        import peft

        model, options = self._backbone(), dict(self.job.config)
        kind = getattr(peft, str(options.pop("_target_")).rpartition(".")[2])
        config = kind(target_modules=self.job.targets, modules_to_save=list(self.job.head), **options)
        started = time.perf_counter()
        return peft.get_peft_model(model, config), started

    @override
    def warm_up(self, count: int) -> None:
        self.turn(count)

    @override
    def turn(self, count: int) -> Turn:
        """Seconds of `count` training steps: `passes`, forward and backward, and `updates`, the optimizer's part."""
        passes, updates = [], []
        for _ in range(count):
            started = self.now()
            self.model(**self.inputs).loss.backward()
            between = self.now()
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            passes.append(between - started)
            updates.append(self.now() - between)
        return {"passes": passes, "updates": updates}

    @override
    def sizes(self) -> Sizes:
        """Counts and bytes, and the seconds of merging; what the authors' code does not tell is null."""
        if self.adapted is None:
            state, merge = self._buffer_bytes(), self._merge()
            return Sizes(trainable=self.trainable, adapted_weights=None, state_bytes=state, merge_seconds=merge)
        with tempfile.TemporaryDirectory() as folder:
            self.adapted.save(Path(folder))
            stored = self.adapted.checkpoint_bytes(Path(folder), with_head=False)
        return Sizes(
            trainable=self.trainable,
            theta=self.adapted.theta,
            adapted_weights=self.adapted.adapted_weights,
            state_bytes=self.adapted.runtime_state_bytes,
            checkpoint_bytes=stored,
            merge_seconds=self._merge(),
        )

    def _buffer_bytes(self) -> int:
        known = ("position_ids", "token_type_ids")
        named = [(name, b) for name, b in self.model.named_buffers() if not name.endswith(known)]
        return sum(buffer.numel() * buffer.element_size() for _, buffer in named)

    def _merge(self) -> float | None:
        """Seconds of merging into the weights; None where there is nothing to merge."""
        started = self.now()
        if self.theirs is not None:
            self.theirs.merge_adapter()
        elif self.adapted is not None and self.adapted.can_merge:
            self.adapted.merge()
        else:
            return None
        return self.now() - started
