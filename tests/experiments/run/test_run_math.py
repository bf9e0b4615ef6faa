"""Whole runs of mathematical reasoning on a tiny real language model: loss before and after, generations, scores."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from experiments.__main__ import main
from experiments.data import sources
from experiments.errors import SpecError
from experiments.families.math.family import Math
from experiments.records import record
from experiments.run import preflight
from tests.experiments.runs import folder_of, run, spec_of


def predictions_of(outputs: Path, identity: str) -> pd.DataFrame:
    return pd.read_parquet(folder_of(outputs, identity) / "predictions.parquet")


@pytest.mark.parametrize("method", ["gpart", "lora", "unilora", "full"])
def test_every_method_lowers_the_held_out_loss_and_is_scored_by_generation(
    method: str, words: list[str], tmp_path: Path
) -> None:
    result = run(*words, f"method={method}")
    before, *_, last = result["history"]["epochs"]
    assert before["epoch"] == 0, "the loss before the first step is kept"
    assert last["selection"]["loss"] < before["selection"]["loss"]
    losses = [epoch["selection"]["loss"] for epoch in result["history"]["epochs"][1:]]
    assert result["metrics"]["selection"]["loss"] == min(losses)
    assert set(result["metrics"]["test"]) == {"strict", "lenient", "unanswered", "loss"}
    assert result["metrics"]["primary"] == "strict"
    assert result["round_trip"]["reload"]["max_abs_logit_difference"] <= 1e-4
    frame = predictions_of(tmp_path / "outputs", result["id"])
    assert len(frame) == 20
    assert frame["prediction"].mean() == pytest.approx(result["metrics"]["test"]["strict"])


def test_a_merge_that_fails_is_recorded_and_breaks_nothing(words: list[str]) -> None:
    # A Llama has no biases to add LoRA's to.
    result = run(*words, "method=lora", "+method.config.lora_bias=true")
    assert result["outcome"] == "ok"
    assert result["round_trip"]["merge"].startswith("failed: RuntimeError: Impossible to merge LoRA")
    assert result["round_trip"]["unmerge"] == "skipped: nothing was merged"


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_loss_and_generation_are_in_the_recipes_precision(precision: str, words: list[str]) -> None:
    prepared = preflight.prepare(spec_of(*words, "method=untrained", f"recipe.precision={precision}"))
    family = prepared.family
    assert isinstance(family, Math)
    adapted = preflight.adapted(prepared.spec, family.load(0))
    rows = sources.load(prepared.source, prepared.spec).tests["test"].select(range(2))
    seen = []
    adapted.model.lm_head.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    examples = family.examples(rows, "test")
    family._write(adapted, rows, "test")
    assert seen
    family._loss(adapted.model, examples)
    family.outputs(adapted.model, examples, 2)
    assert set(seen) == {getattr(torch, precision)}


def test_the_held_out_loss_is_of_the_rows_that_the_trainer_holds(words: list[str]) -> None:
    prepared = preflight.prepare(spec_of(*words, "method=untrained"))
    family = prepared.family
    before = family.trainer_options()
    splits = sources.load(prepared.source, prepared.spec)
    model = family.load(0)
    parts = [family.examples(rows, "selection") for rows in (splits.selection, splits.selection.select(range(3)))]
    assert before.evaluate is not None
    losses = [before.evaluate(model, part)["loss"] for part in parts]
    assert losses[0] != losses[1]


def test_the_untrained_model_is_a_baseline_of_its_own(words: list[str]) -> None:
    result = run(*words, "method=untrained")
    assert result["sizes"]["trainable"] == 0
    assert result["history"]["steps"] == []
    assert result["metrics"]["test"]["loss"] > 0
    with pytest.raises(SpecError, match="method=untrained"):
        run(*words, "method=head")
    with pytest.raises(SpecError, match="method=bitfit: selects no parameter"):
        run(*words, "method=bitfit")  # a Llama has no biases


def replace_predictions(folder: Path, frame: pd.DataFrame) -> None:
    """Other predictions, recorded as if the run had written them."""
    frame.to_parquet(folder / "predictions.parquet")
    artifacts = record.artifacts(folder)
    record.write(folder / record.RECORD, record.written(folder).model_copy(update={"artifacts": artifacts}))


def test_generations_alone_give_the_recorded_scores(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(*words, "method=full", "recipe.epochs=12")
    assert result["metrics"]["test"]["strict"] > 0, "otherwise the test below says little"
    folder = folder_of(tmp_path / "outputs", result["id"])
    assert main(["rescore", str(folder)]) == 0
    assert "strict: recorded" in capsys.readouterr().out
    frame = pd.read_parquet(folder / "predictions.parquet")
    frame.assign(generation="#### 1000").to_parquet(folder / "predictions.parquet")
    assert main(["rescore", str(folder)]) == 2
    assert "predictions.parquet is not the file that was recorded" in capsys.readouterr().err
    for change, said in (
        ({"generation": frame["generation"].where(frame.index != 3)}, "row 3: generation=nan: accepted: a text"),
        ({"gold": "twelve"}, "row 0: gold='twelve': accepted: a number"),
        ({"split": "other"}, "0 generations, 0 gold answers; accepted: equally many, at least 1"),
    ):
        replace_predictions(folder, frame.assign(**change))
        assert main(["rescore", str(folder)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line == f"error: RUN={folder}: predictions.parquet: split test: {said}"
    replace_predictions(folder, frame.assign(generation="#### 1000"))
    assert main(["rescore", str(folder)]) == 1, "scores that do not follow from what was generated"
    assert main(["evaluate", str(folder)]) == 0


def test_batches_write_what_is_written_one_at_a_time(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(*words, "method=gpart")
    folder = folder_of(tmp_path / "outputs", result["id"])
    capsys.readouterr()
    assert main(["batching", str(folder), "--rows", "7"]) == 0
    line, *further = capsys.readouterr().out.splitlines()
    same, differing = re.findall(r"\d+", line)
    assert int(same) + int(differing) == 7
    assert bool(further) == (int(differing) > 0)
    with pytest.raises(SystemExit):
        main(["batching", str(folder), "--rows", "0"])


class Vllm:
    """What the suite uses of vLLM's interface, with transformers behind it: reads the folder that is written for it."""

    __spec__ = SimpleNamespace(name="vllm")
    SamplingParams = SimpleNamespace

    class LLM:
        def __init__(self, model: str, dtype: str, max_model_len: int) -> None:
            self.model = AutoModelForCausalLM.from_pretrained(model)
            self.tokenizer = AutoTokenizer.from_pretrained(model)

        def generate(self, prompts: list[Any], parameters: list[Any]) -> list[Any]:
            return [self._one(*pair) for pair in zip(prompts, parameters, strict=True)]

        def _one(self, prompt: dict[str, list[int]], limits: Any) -> Any:
            inputs = torch.tensor([prompt["prompt_token_ids"]])
            ids = self.model.generate(inputs, max_new_tokens=limits.max_tokens, do_sample=False)[0, inputs.shape[1] :]
            reason = "stop" if ids[-1] == self.tokenizer.eos_token_id else "length"
            text = self.tokenizer.decode(ids, skip_special_tokens=True)
            return SimpleNamespace(
                outputs=[SimpleNamespace(text=text, token_ids=ids.tolist(), finish_reason=reason)],
            )


@pytest.mark.parametrize("method", ["gpart", "full"])
def test_the_vllm_back_end_is_given_the_trained_model(
    method: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = [*words, f"method={method}", "recipe.epochs=6"]
    plain = run(*same)
    monkeypatch.setitem(sys.modules, "vllm", cast(ModuleType, Vllm))
    other = run(*same, "++task.generation=vllm")
    assert other["id"] != plain["id"], "another program may write other texts"
    runs = (other, plain, run(*words, "method=untrained"))
    written, expected, before = (list(predictions_of(tmp_path / "outputs", r["id"])["generation"]) for r in runs)
    assert written == expected != before
    assert other["metrics"]["test"] == plain["metrics"]["test"]


def test_vllm_that_is_not_installed_is_one_line(words: list[str]) -> None:
    if importlib.util.find_spec("vllm"):
        pytest.skip("vllm is installed")
    with pytest.raises(SpecError, match=r"task\.generation=vllm: not installed here .* accepted: transformers"):
        run(*words, "method=gpart", "++task.generation=vllm")


def test_lm_eval_scores_a_run(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("lm_eval", reason="lm-eval is an optional extra")
    result = run(
        *words, "method=full", "recipe.epochs=20", "recipe.learning_rate=0.01", "++task.prompt=question-answer"
    )
    assert result["metrics"]["test"]["strict"] > 0, "otherwise the test below says little"
    folder = folder_of(tmp_path / "outputs", result["id"])
    capsys.readouterr()
    assert main(["lm-eval", str(folder), "--few-shot", "0"]) == 0
    scores = dict(line.split(": ") for line in capsys.readouterr().out.splitlines() if line.startswith("exact_match"))
    assert float(scores["exact_match,strict-match"]) == pytest.approx(result["metrics"]["test"]["strict"])


def test_lm_eval_that_is_not_installed_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    if importlib.util.find_spec("lm_eval"):
        pytest.skip("lm-eval is installed")
    assert main(["lm-eval", "anywhere"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "error: lm-eval: not installed here; accepted: after `pip install -e '.[lm-eval]'`"


def test_several_test_sets_after_one_training(words: list[str], tmp_path: Path) -> None:
    overrides = [o for o in words if not o.startswith("task=")]
    result = run(*overrides, "task=math/gsm8k_math", "method=gpart")
    assert set(result["metrics"]["further_tests"]) == {"math"}
    counts = predictions_of(tmp_path / "outputs", result["id"])["split"].value_counts()
    assert dict(counts) == {"test": 20, "math": 5}


@pytest.mark.parametrize("overrides", [["++task.packing=true"], ["++task.loss=text"], ["++task.prompt=alpaca"]])
def test_options_of_training_are_part_of_the_identity(overrides: list[str], words: list[str]) -> None:
    small = [*words, "method=gpart", "recipe.epochs=1", "data.test_rows=2", "backbone.max_length=64"]
    plain, other = run(*small), run(*small, *overrides)
    assert other["id"] != plain["id"]
    assert other["history"]["steps"] != plain["history"]["steps"]


def test_what_is_longer_than_the_context_is_said_counted_and_recorded(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(*words, "method=gpart", "recipe.epochs=1", "backbone.max_length=16")
    report = result["diagnostics"]["sequences"]["train"]
    assert report["longer_than_context"] == report["pairs"] > 0
    output = capsys.readouterr().out
    assert f"{report['pairs']} of {report['pairs']} examples are longer than the context of 16" in output
    assert "questions alone" not in output
    # "Q: 1+2?", a new line and "A:" are 10 bytes, each a token.
    run(*words, "method=gpart", "recipe.epochs=1", "backbone.max_length=10")
    assert f"train: {report['pairs']} of {report['pairs']} questions alone fill the context" in capsys.readouterr().out


@pytest.mark.parametrize("answer", ["I do not know.", "#### 1/0"])
def test_a_solution_without_an_answer_is_refused(answer: str, words: list[str], sums: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "train.jsonl").write_bytes((sums / "gsm8k" / "train.jsonl").read_bytes())
    (broken / "test.jsonl").write_text(json.dumps({"question": "1+1?", "answer": answer}) + "\n")
    with pytest.raises(SpecError, match="split test: 1 solutions without an answer, the first at example id 0"):
        run(*words, f"data.path={broken}", "method=gpart")
    assert not (tmp_path / "outputs").exists()


def test_training_rows_of_which_none_has_an_answer_are_refused(words: list[str], sums: Path, tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_bytes((sums / "gsm8k" / f"{split}.jsonl").read_bytes())
    rows = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    silent = [{**row, "answer": "I do not know."} for row in rows]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in silent))
    with pytest.raises(SpecError, match=r"split train: .* solutions without an answer, the first at example id"):
        run(*words, f"data.path={tmp_path}", "method=gpart")


def test_bad_settings_of_math_are_refused(words: list[str]) -> None:
    with pytest.raises(SpecError, match=r"task\.metrics=loss: .* accepted as the first: strict, lenient"):
        run(*words, "method=gpart", "task.metrics=[loss,strict]")
    with pytest.raises(SpecError, match=r"task\.prompt=none: no such template"):
        run(*words, "method=gpart", "++task.prompt=none")
    with pytest.raises(SpecError, match="protocol=best_on_dev"):
        run(*words, "method=gpart", "protocol=best_on_dev")
    with pytest.raises(SpecError, match=r"backbone\.max_length=65: the model has 64 positions"):
        run(*words, "method=gpart", "backbone.max_length=65")
    with pytest.raises(SpecError, match=r"task\.loss=both"):
        run(*words, "method=gpart", "++task.loss=both")
