"""Training steps of a model with random weights: one method applied to it, one batch and an optimizer."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from typing_extensions import override

from experiments.bench.contender import Contender

_ROOT = Path(__file__).resolve().parent.parent.parent


class Training(Contender):
    """A classifier that trains; beside `Contender`'s, the setting has `head`, `batch`, `length` and `authors` (a folder
    with the authors' copy of PEFT, or null).
    """

    def __init__(self, setting: Mapping[str, Any]) -> None:
        super().__init__(setting)
        if setting["authors"]:
            self.model, started = self._authors(Path(setting["authors"]))
            self.adapted: Any = None
        else:
            self.adapted, started = self._own()
            self.model = self.adapted.model
        self.ready = {"init_seconds": time.perf_counter() - started}
        self.model.train()
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.trainable = sum(parameter.numel() for parameter in trained)
        self.optimizer = torch.optim.AdamW(trained, lr=1e-4)
        shape = (setting["batch"], setting["length"])
        ids = torch.randint(5, setting["architecture"]["vocab_size"], shape, device=self.device)
        labels = torch.randint(0, setting["architecture"]["num_labels"], (setting["batch"],), device=self.device)
        self.inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}

    def _backbone(self) -> torch.nn.Module:
        from transformers import AutoConfig, AutoModelForSequenceClassification

        config = AutoConfig.for_model(**self.setting["architecture"])
        model: torch.nn.Module = AutoModelForSequenceClassification.from_config(config)
        return model.to(self.device)

    def _own(self) -> tuple[Any, float]:
        import baselines

        model, method, started = self._backbone(), self.method(), time.perf_counter()
        return baselines.adapt(model, method, head=self.setting["head"], init_seed=0), started

    def _authors(self, folder: Path) -> tuple[Any, float]:
        """Their code, imported under the name that it shares with PEFT; nothing of this suite may come before it."""
        shim = importlib.util.spec_from_file_location("_torchvision", _ROOT / "gpart" / "_torchvision.py")
        assert shim is not None
        assert shim.loader is not None
        module = importlib.util.module_from_spec(shim)
        shim.loader.exec_module(module)
        module.ensure_torchvision()
        sys.path.insert(0, str(folder))
        import peft

        model, options = self._backbone(), dict(self.setting["config"])
        kind = getattr(peft, options.pop("_target_").rpartition(".")[2])
        config = kind(target_modules=self.setting["targets"], modules_to_save=list(self.setting["head"]), **options)
        started = time.perf_counter()
        return peft.get_peft_model(model, config), started

    @override
    def warm_up(self, count: int) -> dict[str, Any]:
        return self.turn(count)

    @override
    def turn(self, count: int) -> dict[str, list[float]]:
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
    def sizes(self) -> dict[str, Any]:
        """Counts and bytes, and the seconds of merging; what the authors' code does not tell is null."""
        if self.adapted is None:
            known = {"trainable": self.trainable, "adapted_weights": None, "state_bytes": self._buffer_bytes()}
            return known | {"merge_seconds": self._merge()}
        with tempfile.TemporaryDirectory() as folder:
            self.adapted.save(Path(folder))
            stored = self.adapted.checkpoint_bytes(Path(folder), with_head=False)
        return {
            "trainable": self.trainable,
            "theta": self.adapted.theta,
            "adapted_weights": self.adapted.adapted_weights,
            "state_bytes": self.adapted.runtime_state_bytes,
            "checkpoint_bytes": stored,
            "merge_seconds": self._merge(),
        }

    def _buffer_bytes(self) -> int:
        known = ("position_ids", "token_type_ids")
        named = [(name, b) for name, b in self.model.named_buffers() if not name.endswith(known)]
        return sum(buffer.numel() * buffer.element_size() for _, buffer in named)

    def _merge(self) -> float | None:
        """Seconds of merging into the weights; None where there is nothing to merge."""
        started = self.now()
        if self.adapted is None:
            self.model.merge_adapter()
        elif self.adapted.can_merge:
            self.adapted.merge()
        else:
            return None
        return self.now() - started
