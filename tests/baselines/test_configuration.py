"""What a method's `config` may name, and that nothing else is ever called."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from peft import LoraConfig

from baselines import BitFit, config_errors, method_config

MODULE = """
from dataclasses import dataclass
from peft import LoraConfig

@dataclass
class OwnConfig(LoraConfig):
    own: int = 3
"""


class Leaves:
    """A pickle that leaves a file behind when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_the_class_and_its_arguments() -> None:
    config = method_config({"_target_": "peft.LoraConfig", "_convert_": "all", "r": 3, "target_modules": ["query"]})
    assert isinstance(config, LoraConfig)
    assert (config.r, config.target_modules) == (3, {"query"})
    assert method_config({"_target_": "baselines.BitFit"}) == BitFit()


def test_a_class_that_configures_no_method_is_never_called(tmp_path: Path) -> None:
    trap, trace = tmp_path / "trap.pt", tmp_path / "trace"
    trap.write_bytes(pickle.dumps(Leaves(trace)))
    options = {"_target_": "torch.load", "f": str(trap), "weights_only": False}
    (line,) = config_errors(options)
    assert line.startswith("method.config._target_=torch.load: configures no method; accepted: a subclass of peft.Peft")
    with pytest.raises(ValueError, match=r"torch\.load: configures no method"):
        method_config(options)
    method_config({"_target_": "peft.LoraConfig", "target_modules": ["query"], "loftq_config": {"query": options}})
    assert not trace.exists()
    pickle.loads(trap.read_bytes())
    assert trace.exists(), "the trap works"


@pytest.mark.parametrize(
    "target", [None, 3, "", "nosuch.Config", "peft.NoSuchConfig", "peft", "pathlib.Path", "torch.nn.Linear", "a b"]
)
def test_what_is_no_method_is_one_line(target: object) -> None:
    (line,) = config_errors({"_target_": target, "r": 3})
    assert line.startswith("method.config._target_=")
    assert "accepted: a subclass of peft.PeftConfig" in line


def test_unknown_keys_are_named_with_what_was_meant() -> None:
    lines = config_errors({"_target_": "peft.LoraConfig", "lora_alhpa": 3, "_args_": [1], "r": 8})
    assert [line.split(";")[0] for line in lines] == [
        "method.config.lora_alhpa: unknown key (did you mean method.config.lora_alpha?)",
        "method.config._args_: unknown key",
    ]
    assert config_errors({"_target_": "baselines.BitFit", "r": 8}) == [
        "method.config.r: unknown key; accepted: none",
    ]
    (line,) = config_errors({"_target_": "gpart.GPartConfig", "shceme": "hash"})
    assert "did you mean method.config.scheme?" in line


def test_a_class_of_ones_own_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_method.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    config: Any = method_config({"_target_": "own_method.OwnConfig", "own": 5, "r": 2})
    assert (type(config).__name__, config.own, config.r) == ("OwnConfig", 5, 2)


def test_a_value_that_the_class_refuses_is_one_line() -> None:
    with pytest.raises(ValueError, match=r"^method\.config\.d=0: not accepted; accepted: integers from 1 to"):
        method_config({"_target_": "gpart.GPartConfig", "d": 0})


def test_a_class_that_needs_an_argument_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "class OwnConfig:\n    def __init__(self, own): ...\n    def selects(self, parameter): ...\n"
    (tmp_path / "needy_method.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert config_errors({"_target_": "needy_method.OwnConfig"}) == ["method.config.own: missing; accepted: a value"]
