"""Checkpoints of the authors' code give the outputs that they gave there; how they were made: authors_checkpoints/."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftConfig, PeftModel, get_peft_model
from torch import Tensor

from gpart import GPartConfig, hotswap_adapter
from tests.gpart.reference_models import INPUTS, MODELS, fill
from tests.gpart.small_models import tuner

FOLDER = Path(__file__).parent / "authors_checkpoints"
LOGITS: dict[str, list[float]] = json.loads((FOLDER / "logits.json").read_text())


def base(name: str) -> Any:
    model = MODELS[name.partition("-")[0]][0]()
    fill(model)
    return model.eval()


@torch.no_grad()
def outputs(model: Any) -> Tensor:
    result: Tensor = model(input_ids=INPUTS).logits
    return result.reshape(len(INPUTS), -1)[:, -20:].flatten()


def assert_outputs(model: Any, name: str) -> None:
    expected = torch.tensor(LOGITS[name])
    assert (outputs(model.eval()) - expected).norm() <= 1e-6 * expected.norm()


def edited(name: str, folder: Path, changes: dict[str, Any], without: tuple[str, ...] = ()) -> str:
    shutil.copytree(FOLDER / name, folder, dirs_exist_ok=True)
    file = folder / "adapter_config.json"
    fields = {key: value for key, value in json.loads(file.read_text()).items() if key not in without}
    file.write_text(json.dumps(fields | changes))
    return str(folder)


def test_there_is_one_of_every_kind() -> None:
    kinds, biases = set(), set()
    for name in LOGITS:
        fields = json.loads((FOLDER / name / "adapter_config.json").read_text())
        kinds.add((fields["grouping_strategy"], fields["assignment_backend"], fields["partition_scope"]))
        biases.add(fields["bias"])
    assert len(kinds) == 6
    assert biases == {"none", "all", "gpart_only"}
    assert sorted(LOGITS) == sorted(path.name for path in FOLDER.iterdir() if path.is_dir())


@pytest.mark.parametrize("name", LOGITS)
def test_a_checkpoint_gives_the_same_outputs(name: str, tmp_path: Path) -> None:
    unadapted = outputs(base(name))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*(Unexpected keyword|missing adapter keys)")
        model = PeftModel.from_pretrained(base(name), str(FOLDER / name))
    assert (outputs(model.eval()) - unadapted).norm() > 0.02 * unadapted.norm()
    assert_outputs(model, name)
    model.save_pretrained(str(tmp_path))
    stored = json.loads((tmp_path / "adapter_config.json").read_text())
    assert stored["partition"] == tuner(model).partition().manifest
    assert "proj_seed" not in stored
    assert torch.equal(outputs(PeftModel.from_pretrained(base(name), str(tmp_path)).eval()), outputs(model))


def test_fields_are_ours_whichever_way_they_are_read() -> None:
    folder = str(FOLDER / "bert-stateless")
    config = PeftConfig.from_pretrained(folder)
    assert config == GPartConfig.from_pretrained(folder)
    assert isinstance(config, GPartConfig)
    assert (config.scheme, config.seed, config.d, config.dropout) == ("hash", 17, 100, 0.1)
    assert GPartConfig.from_pretrained(str(FOLDER / "bert-materialized")).seed == 2**64 - 3
    model = PeftModel.from_pretrained(base("bert"), folder, config=config)
    assert_outputs(model, "bert-stateless")


def test_one_configuration_loads_two_models() -> None:
    folder = str(FOLDER / "bert-materialized")
    config = PeftConfig.from_pretrained(folder)
    for _ in range(2):
        assert_outputs(PeftModel.from_pretrained(base("bert"), folder, config=config), "bert-materialized")


def test_several_in_one_model_and_on_the_meta_device() -> None:
    first, second = "bert-signed-magnitude", "bert-materialized-blocks"
    model = PeftModel.from_pretrained(base("bert"), str(FOLDER / first), low_cpu_mem_usage=True)
    model.load_adapter(str(FOLDER / second), "other")
    assert_outputs(model, first)
    model.set_adapter("other")
    assert_outputs(model, second)


@pytest.mark.parametrize(
    ("name", "changes", "without"),
    [
        ("bert-stateless", {"assignment_backend": "implicit_stateless_v1"}, ()),
        ("bert-materialized", {"assignment_backend": "legacy_streaming"}, ()),
        ("bert-materialized", {}, ("assignment_backend", "projection_type", "partition_scope")),
        ("bert-materialized", {"layers_pattern": "layer"}, ()),
    ],
)
def test_older_spellings(name: str, changes: dict[str, Any], without: tuple[str, ...], tmp_path: Path) -> None:
    assert_outputs(PeftModel.from_pretrained(base(name), edited(name, tmp_path, changes, without)), name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"projection_type": "fastfood"}, "projection_type: 'fastfood' in .* authors' code; accepted is 'partition'"),
        ({"bias": "x"}, "bias: 'x'; accepted are 'none', 'all', 'gpart_only'"),
        ({"grouping_strategy": "x"}, "grouping_strategy: 'x' in .*; accepted are 'random' and 'signed_magnitude'"),
        ({"assignment_backend": "x"}, "assignment_backend: 'x' in .*; accepted are 'legacy_streaming', 'material"),
        ({"partition_scope": "x"}, "scope: 'x'; accepted are 'global', 'transformer_block'"),
        ({"proj_seed": "x"}, "seed: 'x'; accepted are integers"),
        ({"block_granularity": "global"}, "block_granularity: 'global' in .*; accepted are those without it"),
    ],
)
def test_what_cannot_be_honoured_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder = edited("bert-stateless", tmp_path, changes)
    with pytest.raises(ValueError, match=message):
        PeftModel.from_pretrained(base("bert"), folder)
    with pytest.raises(ValueError, match=message):
        PeftConfig.from_pretrained(folder)


def test_a_vector_is_loaded_only_under_its_own_configuration() -> None:
    folder, own = str(FOLDER / "bert-stateless-not-isometric"), GPartConfig(d=100, target_modules=["query", "value"])
    with pytest.raises(ValueError, match=r"its vector is named base_model\.gpart_theta_d, as the authors' code does"):
        PeftModel.from_pretrained(base("bert"), folder, config=own)
    live = PeftModel.from_pretrained(base("bert"), folder)
    before = outputs(live.eval())
    with pytest.raises(ValueError, match="accepted with the configuration from its own"):
        hotswap_adapter(live, FOLDER / "bert-stateless-negative-seed-blocks")
    assert torch.equal(outputs(live), before)


def test_the_authors_names_are_not_ours() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'proj_seed'"):
        GPartConfig(proj_seed=3)  # type: ignore[call-arg]
    model = get_peft_model(base("bert"), GPartConfig(d=100, target_modules=["query"]))
    assert "proj_seed" not in model.peft_config["default"].to_dict()
