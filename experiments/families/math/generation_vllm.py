"""Greedy generation with vLLM (`task.generation=vllm`), a package of its own that needs a GPU.

Not tested against vLLM itself: the tests put a stand-in in its place, so they check what is handed to vLLM and what is
made of its answers, by its documented interface. How far its texts agree with those of transformers is not measured.
"""

from __future__ import annotations

import importlib
import importlib.util
import tempfile
from collections.abc import Sequence

from torch import nn
from transformers import PreTrainedTokenizerBase

from experiments.families.math.generation import Ended, Generation, finished, prepared


def missing() -> list[str]:
    """One line where vLLM is not installed, otherwise none."""
    if importlib.util.find_spec("vllm"):
        return []
    return ["task.generation=vllm: not installed here (`pip install vllm`, needs a GPU); accepted: transformers"]


def generate_vllm(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    stop: Sequence[str],
    context: int,
) -> list[Generation]:
    """Generate with vLLM, which reads the model from a folder that is written for it.

    Greedy, with the stop strings, limits and results of `generation.generate`.

    Args:
        model: a language model without adapter modules (`Adapted.merged_model`); it is moved off the
            accelerator, which vLLM fills.

    Raises:
        ValueError: as for `generation.generate`.
    """
    encoded, limits, results = prepared(tokenizer, prompts, max_new_tokens, stop, context)
    order = [i for i in range(len(prompts)) if limits[i] > 0]
    vllm = importlib.import_module("vllm")
    with tempfile.TemporaryDirectory() as folder:
        model.to("cpu").save_pretrained(folder)  # type: ignore[operator]  # a language model of transformers
        tokenizer.save_pretrained(folder)
        engine = vllm.LLM(model=folder, dtype="auto", max_model_len=context)
        common = {"temperature": 0.0, "stop": list(stop), "include_stop_str_in_output": True}
        outputs = engine.generate(
            [{"prompt_token_ids": encoded[i]} for i in order],
            [vllm.SamplingParams(max_tokens=limits[i], **common) for i in order],
        )
    for i, output in zip(order, outputs, strict=True):
        answer = output.outputs[0]
        ended: Ended = "length" if answer.finish_reason == "length" else "eos"
        results[i] = finished(answer.text, list(answer.token_ids), ended, stop)
    return results
