"""Greedy generation with vLLM, an optional package that needs a GPU.

Not tested against vLLM itself: the tests put a stand-in in its place, so they check what is handed to vLLM and what is
made of its answers, by its documented interface. How far its texts agree with those of transformers is not measured.
"""

from __future__ import annotations

import gpart  # noqa: F401  repairs torchvision before transformers is imported

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from experiments.errors import SpecError
from experiments.families.math.generation import Ended, Generation, finished, prepared


def require_vllm() -> None:
    """Refuse the vllm back end where it is not installed.

    Raises:
        SpecError: vLLM is missing.
    """
    if importlib.util.find_spec("vllm") is None:
        raise SpecError(["vllm is not installed: `pip install vllm` (needs a GPU), or take the transformers back end"])


def generate_vllm(
    folder: Path, prompts: Sequence[str], *, max_new_tokens: int, stop: Sequence[str], context: int, dtype: str = "auto"
) -> list[Generation]:
    """Generate with vLLM, from a folder with the merged model and its tokenizer.

    Greedy, with the stop strings, limits and results of `generation.generate`.

    Raises:
        SpecError: vLLM is missing.
        ValueError: as for `generation.generate`.
    """
    require_vllm()
    vllm = importlib.import_module("vllm")
    engine = vllm.LLM(model=str(folder), dtype=dtype, max_model_len=context)
    encoded, limits, results = prepared(engine.get_tokenizer(), prompts, max_new_tokens, stop, context)
    order = [i for i in range(len(prompts)) if limits[i] > 0]
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
