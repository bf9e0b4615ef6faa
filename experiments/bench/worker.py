"""One method under measurement, in a process of its own: answers commands, a line of JSON each."""

from __future__ import annotations

import importlib.util
import json
import resource
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

_ROOT = Path(__file__).resolve().parent.parent.parent
_HIGH_WATER = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


class Contender:
    """A model with random weights, one method applied to it, one batch and an optimizer.

    Args:
        setting: `architecture`, `head`, `batch`, `length`, `targets`, `config` (of the method), `authors` (a folder
            with the authors' copy of PEFT, or null), `threads`, `device`.
    """

    def __init__(self, setting: Mapping[str, Any]) -> None:
        self.setting = setting
        self.device = torch.device(setting["device"])
        torch.set_num_threads(setting["threads"])
        torch.manual_seed(0)
        started = 0.0
        if setting["authors"]:
            model, started = self._authors(Path(setting["authors"]))
            self.adapted, self.model = None, model
        else:
            self.adapted, started = self._own()
            self.model = self.adapted.model
        self.init_seconds = time.perf_counter() - started
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
        from hydra.utils import instantiate

        import baselines

        model, config = self._backbone(), dict(self.setting["config"])
        if "baselines" not in config["_target_"]:
            config["target_modules"] = self.setting["targets"]
        method, started = instantiate(config, _convert_="all"), time.perf_counter()
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

    def sizes(self) -> dict[str, Any]:
        """Counts and bytes; what the authors' code does not tell is null."""
        if self.adapted is None:
            return {"trainable": self.trainable, "adapted_weights": None, "state_bytes": self._buffer_bytes()}
        with tempfile.TemporaryDirectory() as folder:
            self.adapted.save(Path(folder))
            stored = self.adapted.checkpoint_bytes(Path(folder), with_head=False)
        return {
            "trainable": self.trainable,
            "theta": self.adapted.theta,
            "adapted_weights": self.adapted.adapted_weights,
            "state_bytes": self.adapted.runtime_state_bytes,
            "checkpoint_bytes": stored,
        }

    def _buffer_bytes(self) -> int:
        known = ("position_ids", "token_type_ids")
        named = [(name, b) for name, b in self.model.named_buffers() if not name.endswith(known)]
        return sum(buffer.numel() * buffer.element_size() for _, buffer in named)

    def steps(self, count: int) -> dict[str, list[float]]:
        """Seconds of `count` training steps: forward and backward, and the optimizer's part."""
        passes, updates = [], []
        for _ in range(count):
            started = self._now()
            self.model(**self.inputs).loss.backward()
            between = self._now()
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            passes.append(between - started)
            updates.append(self._now() - between)
        return {"passes": passes, "updates": updates}

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def forget_peak(self) -> dict[str, Any]:
        """Count peak memory from now on, where the system can."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        elif _RESET.exists():
            _RESET.write_text("5")
        return {}

    def peak(self) -> dict[str, int]:
        """Most bytes held since `forget_peak`: of the process, on an accelerator of its tensors."""
        if self.device.type == "cuda":
            return {"peak_bytes": torch.cuda.max_memory_allocated()}
        lines = _HIGH_WATER.read_text().splitlines() if _HIGH_WATER.exists() else []
        found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")]
        return {"peak_bytes": found[0] if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}

    def merge(self) -> dict[str, float | None]:
        """Seconds of merging into the weights; null where there is nothing to merge."""
        started = self._now()
        if self.adapted is None:
            self.model.merge_adapter()
        elif self.adapted.can_merge:
            self.adapted.merge()
        else:
            return {"merge_seconds": None}
        return {"merge_seconds": self._now() - started}


def main() -> None:
    """Build what the first line describes, then answer commands."""
    answer = sys.stdout
    sys.stdout = sys.stderr  # whatever libraries print is no answer
    contender = Contender(json.loads(sys.stdin.readline()))
    print(json.dumps({"init_seconds": contender.init_seconds}), file=answer, flush=True)
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        print(json.dumps(getattr(contender, command)(*arguments)), file=answer, flush=True)


if __name__ == "__main__":
    main()
