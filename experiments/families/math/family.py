"""Mathematical reasoning: a language model trained on worked solutions and scored by the answers it generates."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import torch
from pydantic import JsonValue
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase
from transformers.utils.logging import tqdm

from baselines import Adapted
from experiments.data.weights import Weights
from experiments.errors import SpecError
from experiments.families import tokenizer
from experiments.families.family import Classes, Examples, Family, Lengths, Metrics, Predictions, TrainerOptions
from experiments.families.math import answers, examples, generation, generation_vllm, scoring
from experiments.families.math.examples import IGNORED, EncodingReport
from experiments.families.math.section import MathBackbone, MathTask, TestSet
from experiments.families.pretrained import Pretrained, require_positions
from schema.run import RunSpec

_CALCULATOR_MARK = re.compile(r"<<[^<>]*>>")
"""GSM8K's notes for a calculator, such as <<3*4=12>>."""


class Math(Family[MathTask, MathBackbone]):
    """A run on a task of mathematical reasoning.

    The loss on the selection split decides which epoch is kept: generating after every epoch would cost more than
    training. The test split is scored by generation.
    """

    selects_by_loss = True

    def __init__(self, spec: RunSpec[MathTask, MathBackbone], weights: Weights, classes: Classes) -> None:
        super().__init__(spec, weights, classes)
        self.prompt = self.task.prompt
        self._notes: dict[str, JsonValue] = {}
        self._lengths: dict[str, Lengths] = {}

    def check(self) -> list[str]:
        """See `Family.check`."""
        errors = super().check()
        if self.spec.protocol.name != "heldout":
            errors.append("protocol=best_on_dev: no epoch is chosen by generated answers; accepted: heldout")
        if self.spec.recipe.group_by_length and self.task.packing:
            errors.append("recipe.group_by_length=true: packed rows have one length; accepted: false, or no packing")
        if self.task.generation == "vllm":
            errors += generation_vllm.missing()
        return errors

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The backbone's own tokenizer."""
        return tokenizer.loaded(self.weights.folder(), self.weights.key)

    def require_processor(self, folder: Path) -> None:
        """See `Family.require_processor`: a tokenizer, with the token that ends a text."""
        tokenizer.require_token(tokenizer.loaded(folder, self.weights.key), "eos_token", self.weights.key)

    def pretrained(self) -> Pretrained:
        """See `Family.pretrained`; a language model has no new head."""
        config = self.weights.config()
        require_positions(config, self._context)
        return Pretrained(AutoModelForCausalLM, config)

    def examples(self, rows: datasets.Dataset, split: str) -> Examples:
        """Token ids with labels, of prompt and solution.

        Raises:
            SpecError: if a solution has no answer, or nothing is left to learn within the context.
        """
        self._require_answers(rows, split)
        pairs = [self.prompt.training(*pair) for pair in zip(*self._texts(rows), strict=True)]
        encoded, report = examples.encode(
            pairs, self.tokenizer, context=self._context, loss=self.task.loss, keep=self.task.keep
        )
        tokenizer.require_known(encoded, self.weights.config(), self.weights.key)
        self._notes[split] = report.as_record()
        self._require_room(report, split)
        self._lengths[split] = Lengths(report.longest, report.longer_than_context)
        if split == "train" and self.task.packing:
            encoded = examples.pack(encoded, self._context)
        return encoded

    def longest(self, rows: datasets.Dataset, split: str) -> Lengths:
        """See `Family.longest`: of question and solution together."""
        return self._lengths[split]

    def trainer_options(self) -> TrainerOptions:
        """See `Family.trainer_options`; what is measured before the first step is kept as epoch 0."""
        pad = examples.padding_id(self.tokenizer)
        collator = examples.PackedCollator(pad) if self.task.packing else examples.PaddingCollator(pad)
        return TrainerOptions(
            collator,
            self.tokenizer,
            arguments={"eval_on_start": True, "remove_unused_columns": False},
            evaluate=lambda model, selection: {"loss": self._loss(model, selection)},
            counts_tokens=not self.task.packing,
        )

    def outputs(self, model: nn.Module, examples: Examples, batch_size: int) -> np.ndarray:
        """Logits (n, vocabulary) of the last token of each example, on which all of its tokens have a say."""
        parts = []
        with self.inference(model) as device:
            for logits, labels in self._forward(model, examples, batch_size, device):
                last = (labels != IGNORED).long().cumsum(1).argmax(1)
                parts.append(logits[torch.arange(len(last)), last].float().cpu())
        return torch.cat(parts).numpy()

    def predicted(self, outputs: np.ndarray) -> np.ndarray:
        """The likeliest token of each row of logits."""
        return outputs.argmax(-1)

    def predict(self, adapted: Adapted, split: str, rows: datasets.Dataset, examples: Examples) -> Predictions:
        """The loss on the selection split; on a test split the generations, the answers in them and their scores."""
        if split == "selection":
            return Predictions(split, pd.DataFrame(), {"loss": self._loss(adapted.model, examples)})
        _, solutions = self._texts(rows)
        section = self._section(split)
        golds = [answers.gold_answer(solution, section.kind) for solution in solutions]
        written = self._write(adapted, rows, split)
        scores = scoring.score([part.raw for part in written], golds, section.kind, self.prompt)
        self._notes[f"{split}_generation"] = {
            "ended": {**generation.count_ends(written)},
            "tokens": sum(part.tokens for part in written),
        }
        frame = pd.DataFrame(
            {
                "split": split,
                "example_id": rows["example_id"][:],
                "gold": golds,
                "generation": [part.raw for part in written],
                "ended": [part.ended for part in written],
                "strict_answer": scores.strict_answers,
                "lenient_answer": scores.lenient_answers,
                # Right (1) or wrong (0) by the primary metric, against a label of 1: what paired statistics need.
                "prediction": [int(right) for right in getattr(scores, self.task.primary_metric)],
                "label": 1,
            }
        )
        computed: Metrics = dict(scores.metrics)
        if "loss" in self.spec.task.metrics:
            computed["loss"] = self._loss(adapted.model, examples)
        return Predictions(split, frame, {name: computed[name] for name in self.spec.task.metrics})

    def notes(self) -> dict[str, JsonValue]:
        """Examples that were cut or left out, and how generations ended, by split."""
        return {"sequences": self._notes}

    def generation_limits(self, split: str) -> generation.Limits:
        """The options of a test split that both back ends of generation take."""
        return {
            "max_new_tokens": self._section(split).max_new_tokens,
            "stop": self.prompt.stop,
            "context": self._context,
        }

    def prompts(self, rows: datasets.Dataset) -> list[str]:
        """What the model is asked to go on from, a text for each row."""
        return [self.prompt.evaluation(question) for question in self._texts(rows)[0]]

    def _write(self, adapted: Adapted, rows: datasets.Dataset, split: str) -> list[generation.Generation]:
        prompts, limits = self.prompts(rows), self.generation_limits(split)
        if self.task.generation == "vllm":
            return generation_vllm.generate_vllm(adapted.merged_model(), self.tokenizer, prompts, **limits)
        batch_size = self.spec.recipe.eval_batch_size
        with self.inference(adapted.model):
            return generation.generate(adapted.model, self.tokenizer, prompts, batch_size=batch_size, **limits)

    @property
    def _context(self) -> int:
        return self.backbone.max_length

    def _section(self, split: str) -> MathTask | TestSet:
        """The section of a test split: the task's own, or that of one of its test sets."""
        return self.task.test_sets.get(split, self.task)

    def _texts(self, rows: datasets.Dataset) -> tuple[list[str], list[str]]:
        """Questions and solutions; test sets of other tasks name their columns as these do."""
        question, solution = (name for name in rows.column_names if name != "example_id")
        solutions = list(rows[solution][:])
        if self.task.calculator_marks == "drop":
            solutions = [_CALCULATOR_MARK.sub("", text) for text in solutions]
        return list(rows[question][:]), solutions

    def _require_answers(self, rows: datasets.Dataset, split: str) -> None:
        """Refuse a split to be scored with a solution without an answer, and one to be learnt from of such alone."""
        section = self._section(split)
        wrong = [
            example_id
            for example_id, solution in zip(rows["example_id"], self._texts(rows)[1], strict=True)
            if not _has_answer(solution, section.kind)
        ]
        self._notes[f"{split}_without_answer"] = len(wrong)
        if wrong and (split not in ("train", "selection") or (split == "train" and len(wrong) == len(rows))):
            raise SpecError(
                [
                    f"task={section.name}: split {split}: {len(wrong)} solutions without an answer, the first at "
                    f"example id {wrong[0]}; accepted: solutions that state a {section.kind}"
                ]
            )

    def _require_room(self, report: EncodingReport, split: str) -> None:
        """Refuse a split of which the context holds no solution; say how many examples and questions it cuts."""
        if report.left_out == report.pairs:
            raise SpecError(
                [
                    f"task={self.task.name}: split {split}: no solution has a token within backbone.max_length="
                    f"{self._context}; accepted: a longer context, or shorter examples"
                ]
            )
        if report.longer_than_context:
            print(
                f"note: {split}: {report.longer_than_context} of {report.pairs} examples are longer than the context "
                f"of {self._context} tokens (the longest: {report.longest}) and keep their {self.task.keep} tokens"
            )
        if report.question_beyond_context:
            print(
                f"note: {split}: {report.question_beyond_context} of {report.pairs} questions alone fill the context "
                f"of {self._context} tokens: no model reads them whole"
            )

    def _forward(
        self, model: nn.Module, rows: Examples, batch_size: int, device: torch.device
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits (batch, length - 1, vocabulary) and the labels that they predict, batch by batch."""
        collator = examples.PaddingCollator(examples.padding_id(self.tokenizer))
        loader: DataLoader[Mapping[str, object]] = DataLoader(rows, batch_size=batch_size, collate_fn=collator)
        for batch in tqdm(loader, desc="reading", unit="batch", leave=False):
            inputs = {name: batch[name].to(device) for name in ("input_ids", "attention_mask")}
            yield model(**inputs, use_cache=False).logits[:, :-1], batch["labels"][:, 1:].to(device)

    def _loss(self, model: nn.Module, rows: Examples) -> float:
        """Mean cross-entropy in nats per learnt token, over all tokens of all examples alike."""
        total, count, batch_size = 0.0, 0, self.spec.recipe.eval_batch_size
        with self.inference(model) as device:
            for logits, labels in self._forward(model, rows, batch_size, device):
                total += float(_summed(logits, labels))
                count += int((labels != IGNORED).sum())
        return total / count


def _has_answer(solution: str, kind: answers.Kind) -> bool:
    try:
        return answers.is_gold(answers.gold_answer(solution, kind), kind)
    except ValueError:
        return False


def _summed(logits: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(
        logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )


def rescored(generations: Sequence[str], golds: Sequence[str], task: MathTask, split: str) -> Metrics:
    """The scores of stored generations, from nothing else than these: `python -m experiments rescore RUN`."""
    kind = task.test_sets.get(split, task).kind
    return dict(scoring.score(generations, golds, kind, task.prompt).metrics)


FAMILY = Math
