"""What the suite did not foresee is a traceback; only what is refused on purpose is one line."""

from __future__ import annotations

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


def test_a_value_that_peft_refuses_is_one_line(tiny: list[str]) -> None:
    with pytest.raises(SpecError, match=r"^method\.config: .*r.* should be a positive integer") as refusal:
        sizes([*tiny, "method=lora", "task=glue/sst2", "method.config.r=0"])
    assert len(refusal.value.errors) == 1


def test_a_method_that_looks_at_the_weights_is_not_counted_and_not_refused(tiny: list[str]) -> None:
    # SHiRA draws its mask on the weights' own device, which cannot be done where there are none.
    config = "{_target_: peft.ShiraConfig, r: 2, target_modules: [query, value]}"
    words = ["method=lora", "task=glue/sst2", "method.name=shira", "~method.config", f"+method.config={config}"]
    assert sizes([*tiny, *words]) == Sizes()
