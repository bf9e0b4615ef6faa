"""What a checkpoint holds, how large it is, and which it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gpart import hotswap_adapter
from gpart.partition.schemes import SCHEMES
from tests.gpart.small_models import SMALL, logits, tuner

ROBERTA = SMALL["roberta"]
CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"seed": 1}, "seed is 0 in the checkpoint and 1 here"),
    ({"d": 25}, "d is 24 in the checkpoint and 25 here"),
    ({"scheme": "balanced"}, "scheme is 'hash' in the checkpoint and 'balanced' here"),
    ({"isometric": False}, "isometric is True in the checkpoint and False here"),
    ({"target_modules": ["query", "key"]}, "adapted"),
]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    ROBERTA.adapted_model().save_pretrained(str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("d", [1, 24, 1000])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.filterwarnings("ignore:.*reach none")
def test_a_file_without_a_head_is_as_small_as_the_vector(d: int, scheme: str, tmp_path: Path) -> None:
    model = ROBERTA.adapted_model(d=d, scheme=scheme, seed=2**64 - 1, task_type=None)
    model.save_pretrained(str(tmp_path))
    file = tmp_path / "adapter_model.safetensors"
    assert set(load_file(file)) == {"base_model.gpart_theta", "base_model.gpart_partition"}
    assert file.stat().st_size <= 4 * d + 512


def test_both_files_say_which_partition_it_is(saved: Path) -> None:
    partition = tuner(ROBERTA.adapted_model()).partition()
    manifest = json.loads((saved / "adapter_config.json").read_text())["partition"]
    assert manifest == partition.manifest
    assert manifest["layers"][1] == "roberta.encoder.layer.0.attention.self.value 16x16"
    assert (manifest["scheme"], manifest["version"], manifest["d"], manifest["N"]) == ("hash", 1, 24, 1024)
    stamp = load_file(saved / "adapter_model.safetensors")["base_model.gpart_partition"]
    assert json.loads(bytes(stamp.tolist())) == partition.stamp


@pytest.mark.parametrize(("changes", "reason"), CHANGES)
def test_an_edited_configuration_is_refused(changes: dict[str, Any], reason: str, saved: Path) -> None:
    edit(saved, changes)
    with pytest.raises(ValueError, match=f"its partition is not this model's: .*{reason}"):
        PeftModel.from_pretrained(ROBERTA.new(), str(saved))
    model = get_peft_model(ROBERTA.new(), ROBERTA.config())
    before = logits(model.eval())
    with pytest.raises(ValueError, match=reason):
        model.load_adapter(str(saved), "other")
    assert list(model.peft_config) == ["default"]
    assert torch.equal(logits(model), before)


def edit(folder: Path, changes: dict[str, Any]) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize(("changes", "reason"), CHANGES)
def test_the_file_of_weights_refuses_by_itself(changes: dict[str, Any], reason: str, saved: Path) -> None:
    """Whoever passes `config=`, or deletes the manifest, bypasses adapter_config.json."""
    with pytest.raises(ValueError, match=reason):
        PeftModel.from_pretrained(ROBERTA.new(), str(saved), config=ROBERTA.config(**changes))
    model = get_peft_model(ROBERTA.new(), ROBERTA.config(**changes))
    weights = get_peft_model_state_dict(ROBERTA.adapted_model())
    before = tuner(model).gpart_theta["default"].clone()
    with pytest.raises(ValueError, match=reason):
        set_peft_model_state_dict(model, weights)
    with pytest.raises(ValueError, match=reason):
        hotswap_adapter(model, saved)
    assert torch.equal(tuner(model).gpart_theta["default"], before)
    edit(saved, {**changes, "partition": None})
    with pytest.raises(ValueError, match=reason):
        PeftModel.from_pretrained(ROBERTA.new(), str(saved))


def test_another_target_set_of_the_same_size_is_named(saved: Path) -> None:
    edit(saved, {"target_modules": ["query", "key"]})
    with pytest.raises(
        ValueError, match=r"self\.value 16x16.* in the checkpoint and .*self\.key 16x16.* here"
    ) as error:
        PeftModel.from_pretrained(ROBERTA.new(), str(saved))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("change", [lambda w: w.mul_(2), lambda w: w[0, :1].add_(1)], ids=["all", "one"])
def test_groups_of_other_weights_are_refused(change: Callable[[Tensor], Tensor], tmp_path: Path) -> None:
    ROBERTA.adapted_model(scheme="signed_magnitude").save_pretrained(str(tmp_path))
    loaded = PeftModel.from_pretrained(ROBERTA.new(), str(tmp_path))
    assert torch.equal(logits(loaded), logits(ROBERTA.adapted_model(scheme="signed_magnitude")))
    other: Any = ROBERTA.new()
    with torch.no_grad():
        change(other.roberta.encoder.layer[1].attention.self.value.weight)
    with pytest.raises(ValueError, match=r"checkpoint: .*sha256 of the base weights, of which the groups are made"):
        PeftModel.from_pretrained(other, str(tmp_path))
    edit(tmp_path, {"partition": None})
    with pytest.raises(ValueError, match="sha256 of the base weights"):
        PeftModel.from_pretrained(other, str(tmp_path))


class Pair(nn.Module):
    """Two layers of the same shape, registered in either order."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        for name in names:
            torch.manual_seed(ord(name))
            self.add_module(name, nn.Linear(8, 8))


def test_another_order_of_layers_is_refused(tmp_path: Path) -> None:
    options = {"target_modules": ["a", "b"], "task_type": None}
    get_peft_model(Pair("a", "b"), ROBERTA.config(**options)).save_pretrained(str(tmp_path))
    PeftModel.from_pretrained(Pair("a", "b"), str(tmp_path))
    with pytest.raises(ValueError, match="order of layers differs: number 0 is a 8x8 in the checkpoint and b 8x8 here"):
        PeftModel.from_pretrained(Pair("b", "a"), str(tmp_path))
    with pytest.raises(ValueError, match=r"\(names, shapes or order\) differ; here they are 2: b, a"):
        PeftModel.from_pretrained(Pair("b", "a"), str(tmp_path), config=ROBERTA.config(**options))


def test_a_vector_without_its_partition_is_refused(saved: Path) -> None:
    file = saved / "adapter_model.safetensors"
    weights = load_file(file)
    stamp = weights.pop("base_model.gpart_partition")
    save_file(weights, file)
    with pytest.raises(ValueError, match="holds no gpart_partition"):
        PeftModel.from_pretrained(ROBERTA.new(), str(saved))
    del weights["base_model.gpart_theta"]
    save_file(weights | {"base_model.gpart_partition": stamp}, file)
    with pytest.raises(ValueError, match=r"holds no base_model\.gpart_theta, only"):
        PeftModel.from_pretrained(ROBERTA.new(), str(saved))


@pytest.mark.parametrize("stamp", [b"", b"{", b"[1]", b"\xff\xfe", b"{}"])
def test_a_damaged_stamp_is_refused(stamp: bytes, saved: Path) -> None:
    file = saved / "adapter_model.safetensors"
    weights = load_file(file) | {"base_model.gpart_partition": torch.tensor(list(stamp), dtype=torch.uint8)}
    save_file(weights, file)
    with pytest.raises(ValueError, match="checkpoint: "):
        PeftModel.from_pretrained(ROBERTA.new(), str(saved))


def test_a_damaged_manifest_is_refused(saved: Path) -> None:
    edit(saved, {"partition": "hash"})
    with pytest.raises(ValueError, match=r"partition: 'hash'; accepted are None and what an adapter_config\.json"):
        PeftModel.from_pretrained(ROBERTA.new(), str(saved))
