"""What each key of a configuration must accept, written down by hand: `schema/`, which is tried, is not asked.

A right value is one of the right type and range; whether anything goes by its name is another matter.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

Accepts = Callable[[object], bool]


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(least: int, most: float = math.inf) -> Accepts:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _real(accepts: Callable[[float], bool]) -> Accepts:
    return lambda value: _number(value) and accepts(float(str(value)))


def _one_of(*names: str) -> Accepts:
    return lambda value: value in names


def _text(value: object) -> bool:
    return isinstance(value, str) and value != "" and "\0" not in value


def _texts(least: int) -> Accepts:
    return lambda value: isinstance(value, list) and len(value) >= least and all(map(_text, value))


def _mapping(of: Accepts) -> Accepts:
    return lambda value: isinstance(value, dict) and all(map(_text, value)) and all(map(of, value.values()))


def _interval(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_number, value)) and value[0] < value[1]


def _pattern(value: object) -> bool:
    try:
        return _text(value) and bool(re.compile(str(value)))
    except re.error:
        return False


def _or_null(accepts: Accepts) -> Accepts:
    return lambda value: value is None or accepts(value)


def _either(*kinds: Accepts) -> Accepts:
    return lambda value: any(accepts(value) for accepts in kinds)


def _any(_: object) -> bool:
    return True


_FLAG: Accepts = lambda value: isinstance(value, bool)  # noqa: E731  beside its kin
_COUNT, _SEED = _whole(1), _whole(0, 2**32 - 1)
_POSITIVE, _NOT_NEGATIVE = _real(lambda value: value > 0), _real(lambda value: value >= 0)
_BELOW_ONE = _real(lambda value: 0 <= value < 1)
_SOURCE = _one_of("hub", "local", "embedded")
_OPTIONS = _mapping(_any)

_KINDS: Mapping[str, Accepts] = {
    "plan test rerun resume keep_checkpoint round_trip method.decay_vectors recipe.group_by_length": _FLAG,
    "check": _FLAG,
    "backbone.split_qkv task.packing": _FLAG,
    "seed seeds.partition seeds.init seeds.head seeds.data seeds.split diagnostics.seed": _SEED,
    "trainer_version method.result_version task.result_version": _COUNT,
    "recipe.batch_size recipe.accumulation recipe.eval_batch_size": _COUNT,
    "backbone.max_length task.max_new_tokens": _COUNT,
    "diagnostics.pairs diagnostics.dense_limit diagnostics.spectrum diagnostics.rows diagnostics.eigenvalues": _COUNT,
    "d threads recipe.d data.train_rows data.test_rows backbone.image_size": _or_null(_COUNT),
    "diagnostics.snapshots diagnostics.directions": _whole(2),
    "diagnostics.grid": lambda value: _whole(3)(value) and isinstance(value, int) and value % 2 == 1,
    "hub_timeout recipe.epochs recipe.learning_rate recipe.head_learning_rate diagnostics.extent": _POSITIVE,
    "recipe.weight_decay recipe.max_grad_norm": _NOT_NEGATIVE,
    "recipe.warmup_ratio": _real(lambda value: 0 <= value <= 1),
    "recipe.dropout recipe.label_smoothing": _BELOW_ONE,
    "task.selection_fraction": _or_null(_real(lambda value: 0 < value < 1)),
    "outputs method.name task.name task.label task.hub.revision backbone.name backbone.revision": _text,
    "recipe.name diagnostics.name logger.project": _text,
    "local method.capacity task.rows_of task.hub.path data.path backbone.hub backbone.path": _or_null(_text),
    "logger.entity": _or_null(_text),
    "task.family backbone.family": _one_of("glue", "vision", "math"),
    "isolation": _one_of("process", "none"),
    "determinism": _one_of("off", "warn", "strict"),
    "track": _one_of("published", "equal_budget", "unsearched"),
    "task.input_type": _one_of("text", "image"),
    "task.label_type": _one_of("class", "text"),
    "data.source backbone.source": _SOURCE,
    "backbone.pooling": _one_of("model", "mean", "cls"),
    "backbone.library": _one_of("transformers", "timm"),
    "recipe.schedule": _one_of("linear", "cosine", "constant", "constant_with_warmup"),
    "recipe.precision": _one_of("float32", "bfloat16", "float16"),
    "protocol.name": _one_of("heldout", "best_on_dev"),
    "logger.wandb": _one_of("offline", "online", "disabled"),
    "task.kind": _one_of("number", "math"),
    "task.loss": _one_of("response", "text"),
    "task.keep": _one_of("first", "last"),
    "task.calculator_marks": _one_of("keep", "drop"),
    "task.generation": _one_of("transformers", "vllm"),
    "task.inputs task.metrics": _texts(1),
    "backbone.head task.original_header": _texts(0),
    "backbone.target_modules": _either(_texts(1), _pattern),
    "diagnostics.measures": lambda value: isinstance(value, list) and set(map(str, value)) <= {"isometry", "landscape"},
    "task.classes": _either(_texts(1), _or_null(_COUNT), _one_of("folder")),
    "task.hub.name": _either(_texts(1), _or_null(_text)),
    "task.aliases task.splits task.extra_test recipe.sources task.columns": _mapping(_text),
    "task.original_names": _mapping(_text),
    "task.label_range": _or_null(_interval),
    "task.hub.files": _or_null(_mapping(_text)),
    "task.hub.rows": _mapping(_COUNT),
    "method.config task.augmentation task.mixing task.evaluation": _OPTIONS,
    "backbone.architecture": _or_null(_OPTIONS),
    "task.prompt": _either(_one_of("alpaca", "plain", "question-answer", "words"), _OPTIONS),
    "task.test_sets": _mapping(_OPTIONS),
    "task.prompt.name task.prompt.question task.prompt.response": _text,
    "task.prompt.stop task.prompt.strict": _texts(0),
    "task.prompt.cue": _or_null(_text),
    # Sections, for which null, a text and a list are wrong; what is in them is tried by its own key.
    "seeds method task task.hub data backbone recipe protocol logger diagnostics": _OPTIONS,
}

ACCEPTED: Mapping[str, Accepts] = {key: accepts for keys, accepts in _KINDS.items() for key in keys.split()}
"""Whether a key accepts a value, by the key."""
