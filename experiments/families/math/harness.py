"""`python -m experiments lm-eval RUN`: a trained run scored by lm-evaluation-harness with its own gsm8k task.

An optional package (`pip install -e '.[lm-eval]'`). Prompt, examples in the prompt, stop strings and the way in which
answers are found are the harness's; only the rows are the run's, so that it needs no hub.
"""

from __future__ import annotations

import importlib
import importlib.util
import tempfile
from pathlib import Path
from typing import Any

import datasets
import torch
import yaml
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from experiments.errors import SpecError

_MOST_NEW_TOKENS = 256
"""The harness's own default; it refuses a context that is no longer."""


def require_harness() -> None:
    """Refuse where the harness is not installed.

    Raises:
        SpecError: it is not.
    """
    if importlib.util.find_spec("lm_eval") is None:
        raise SpecError(["lm-eval: not installed here; accepted: after `pip install -e '.[lm-eval]'`"])


def harness_scores(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    train: datasets.Dataset,
    test: datasets.Dataset,
    *,
    context: int,
    batch_size: int,
    few_shot: int | None = None,
) -> dict[str, float]:
    """Exact match of the harness's `strict-match` and `flexible-extract`, and their standard errors, as fractions.

    Args:
        model: a causal language model, also a `PeftModel`.
        tokenizer: the model's.
        train: rows with `question` and `answer`, from which the examples in the prompt are drawn.
        test: rows with the same columns, to be scored.
        context: tokens that prompt and answer may take together, at most half of them the answer's; the harness drops
            the first tokens of a longer prompt.
        batch_size: prompts at a time.
        few_shot: examples in the prompt; None: the harness's own number, 5.

    Raises:
        SpecError: the harness is not installed.
    """
    require_harness()
    lm_eval = importlib.import_module("lm_eval")
    tasks = importlib.import_module("lm_eval.tasks")
    huggingface = importlib.import_module("lm_eval.models.huggingface")
    with tempfile.TemporaryDirectory() as name, torch.random.fork_rng():
        task = _task(
            Path(name), {"train": train, "test": test}, Path(str(tasks.__file__)).parent / "gsm8k" / "gsm8k.yaml"
        )
        language_model = huggingface.HFLM(
            pretrained=model,
            tokenizer=tokenizer,
            max_length=context,
            batch_size=batch_size,
            device=str(next(model.parameters()).device),
        )
        results = lm_eval.simple_evaluate(
            model=language_model,
            tasks=[task],
            num_fewshot=few_shot,
            gen_kwargs={"max_gen_toks": min(_MOST_NEW_TOKENS, context // 2)},
            log_samples=False,
            task_manager=tasks.TaskManager(include_path=name),
        )
    scores: dict[str, Any] = results["results"][task]
    return {key: float(value) for key, value in scores.items() if key.startswith("exact_match")}


def _task(folder: Path, rows: dict[str, datasets.Dataset], original: Path) -> str:
    """Write the harness's gsm8k task anew, with the run's rows in the place of the hub's; returns its name."""
    files = {}
    for split, part in rows.items():
        files[split] = str(folder / f"{split}.jsonl")
        part.select_columns(["question", "answer"]).to_json(files[split])
    task = {
        "include": str(original),
        "task": "gsm8k_of_a_run",
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": files},
    }
    (folder / "gsm8k_of_a_run.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")
    return str(task["task"])
