"""What the suite did not foresee is a traceback; only what is refused on purpose is one line."""

from __future__ import annotations

import os

import pytest
from peft.tuners.lora import LoraModel

from experiments.errors import SpecError
from experiments.run import preflight
from schema.record import Sizes
from tests.experiments.runs import spec_of


def sizes(overrides: list[str]) -> Sizes:
    return preflight.sizes(preflight.prepare(spec_of(*overrides)))


@pytest.mark.parametrize("error", [TypeError("unsupported operand"), KeyError("nosuch"), ZeroDivisionError("by zero")])
def test_an_error_within_a_library_is_no_refusal(
    error: Exception, tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(LoraModel, "_create_and_replace", fail)
    with pytest.raises(type(error), match=r"unsupported operand|nosuch|by zero"):
        sizes([*tiny, "method=lora", "task=glue/sst2"])


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["method=lora", "method.config.r=0"], "method.config.r=0: not accepted; accepted: an integer from 1 to 65536"),
        (["method=vera", "method.config.bias=no"], "method.config.bias=no: Requested bias: no, is not implemented"),
        (
            ["method=unilora", "method.config.target_modules=[word_embeddings]"],
            "method.config: Target module Embedding",
        ),
        (
            ["method=lora", "method.config.target_modules=[nosuch]"],
            'method.config.target_modules=["nosuch"]: matches no module of BertForSequenceClassification',
        ),
        (["method=lora", "backbone.head=[nosuch]"], "backbone.head=nosuch: names no module of Bert"),
    ],
)
def test_what_peft_refuses_is_one_line(overrides: list[str], line: str, tiny: list[str]) -> None:
    with pytest.raises(SpecError) as refusal:
        sizes([*tiny, "task=glue/sst2", *overrides])
    (found,) = refusal.value.errors
    assert found.startswith(line)
    assert "; accepted: " in found


def test_memory_that_an_adapter_lacks_is_one_line(tiny: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(LoraModel, "_create_and_replace", fail)
    with pytest.raises(SpecError, match=r"^method\.config: what it adds does not fit the memory here .*; accepted: "):
        sizes([*tiny, "method=lora", "task=glue/sst2"])


def test_more_threads_than_cores_are_refused_and_planned(tiny: list[str]) -> None:
    cores = os.cpu_count()
    spec = spec_of(*tiny, "task=glue/sst2", f"threads={cores}")
    assert preflight.reachable(spec) == []
    more = spec.model_copy(update={"threads": 100_000})
    with pytest.raises(
        SpecError, match=f"^threads=100000: this machine has {cores} cores; accepted: an integer from 1"
    ):
        preflight.reachable(more)
    assert preflight.reachable(more.model_copy(update={"plan": True})) == []
    assert preflight.reachable(more, here=False) == [], "a node of a cluster may have them"


def test_a_method_that_looks_at_the_weights_is_not_counted_and_not_refused(tiny: list[str]) -> None:
    # SHiRA draws its mask on the weights' own device, which cannot be done where there are none.
    config = "{_target_: peft.ShiraConfig, r: 2, target_modules: [query, value]}"
    words = ["method=lora", "task=glue/sst2", "method.name=shira", "~method.config", f"+method.config={config}"]
    assert sizes([*tiny, *words]) == Sizes()
