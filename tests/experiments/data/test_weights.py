"""What weights are: each file that a run reads is part of their reference, and nothing else is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from experiments.data.checkpoint import some
from experiments.data.weights import Weights, weights_of
from experiments.errors import SpecError
from schema.sections import Backbone
from tests.experiments.data.conftest import COMMIT, backbone, snapshot
from tests.hub_server import HubServer


def local(folder: Path, family: str = "glue", **changes: object) -> Weights:
    section = {
        "name": "b",
        "family": family,
        "source": "local",
        "path": str(folder),
        "target_modules": ["query"],
        "head": [],
    }
    return weights_of(Backbone.model_validate(section | changes), timeout=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with every kind of file that a run reads, and some that none does."""
    path = tmp_path / "weights"
    (path / "additional_chat_templates").mkdir(parents=True)
    config = {"model_type": "bert", "hidden_size": 8, "hidden_dropout_prob": 0.3}
    (path / "config.json").write_text(json.dumps(config))
    for name in (*READ, *NOT_READ):
        (path / name).write_text("{}")
    save_file({"a": torch.zeros(2, 3)}, path / "model.safetensors")
    return path


READ = (
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "merges.txt",
    "any-name.model",
    "tekken.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "additional_chat_templates/tools.jinja",
)
NOT_READ = ("README.md", "other.safetensors", "pytorch_model.bin", "preprocessor_config.json", "trainer_state.json")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", *READ])
def test_a_file_that_is_read_is_part_of_the_reference(folder: Path, name: str) -> None:
    before = local(folder).reference()
    with (folder / name).open("ab") as file:
        file.write(b" ")
    assert local(folder).reference() != before


@pytest.mark.parametrize("name", NOT_READ)
def test_a_file_that_is_not_read_is_no_part_of_it(folder: Path, name: str) -> None:
    before = local(folder).reference()
    (folder / name).unlink()
    assert local(folder).reference() == before


def test_another_folder_of_the_same_files_has_the_same_reference(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert local(folder).reference() == local(tmp_path / "elsewhere").reference()


def test_of_an_image_model_the_processor_is_read_and_no_tokenizer(folder: Path) -> None:
    names = local(folder, "vision").reference()["sha256"]
    assert isinstance(names, dict)
    assert set(names) == {"config.json", "generation_config.json", "model.safetensors", "preprocessor_config.json"}


def sharded(folder: Path) -> Path:
    shards = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for number, shard in enumerate(shards):
        save_file({f"t{number}": torch.zeros(number + 1)}, folder / shard)
    index = {"weight_map": {f"t{number}": shard for number, shard in enumerate(shards)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").unlink()
    return folder


def test_of_sharded_weights_index_and_shards_are_read(folder: Path) -> None:
    weights = local(sharded(folder))
    assert weights.errors() == []
    names = weights.reference()["sha256"]
    assert isinstance(names, dict)
    assert {name for name in names if "safetensors" in name} == {
        "model.safetensors.index.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    }
    assert weights.checkpoint(folder).shapes() == {"t0": (1,), "t1": (2,)}


def test_a_file_of_all_weights_comes_before_an_index_beside_it(folder: Path) -> None:
    index = {"weight_map": {"a": "model-00001-of-00001.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert local(folder).errors() == []
    assert local(folder).checkpoint(folder).shapes() == {"a": (2, 3)}


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "no such folder"),
    "no config": (lambda path: (path / "config.json").unlink(), "no config.json in it"),
    "no JSON": (lambda path: (path / "config.json").write_text("{"), "config.json is damaged"),
    "a list": (lambda path: (path / "config.json").write_text("[]"), r"config.json is damaged \(no mapping\)"),
    "brackets": (
        lambda path: (path / "config.json").write_text("[" * 10**5),
        "config.json is damaged (nested too deeply",
    ),
    "no generation_config": (
        lambda path: (path / "generation_config.json").write_text("["),
        "generation_config.json is damaged",
    ),
    "a pickle that transformers would load": (
        lambda path: (path / "model.safetensors").rename(path / "weights.safetensors"),
        "no model.safetensors in it; pytorch_model.bin can run any code when loaded and is not read",
    ),
    "weights by name": (
        lambda path: (path / "config.json").write_text('{"transformers_weights": "x.safetensors"}'),
        "config.json names weights of its own",
    ),
    "an adapter": (lambda path: (path / "adapter_config.json").write_text("{}"), "adapter_config.json in it"),
    "a pickle": (
        lambda path: (path / "model.safetensors").unlink(),
        "no model.safetensors in it; pytorch_model.bin can run any code when loaded and is not read",
    ),
    "damaged weights": (lambda path: (path / "model.safetensors").write_bytes(b"01234567"), "model.safetensors is dam"),
    "a missing shard": (
        lambda path: (sharded(path) / "model-00002-of-00002.safetensors").unlink(),
        "no model-00002-of-00002.safetensors in it",
    ),
    "a damaged index": (
        lambda path: (sharded(path) / "model.safetensors.index.json").write_text("{}"),
        "model.safetensors.index.json is damaged",
    ),
    "a shard elsewhere": (
        lambda path: (sharded(path) / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../b"}}'),
        "model.safetensors.index.json is damaged",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_cannot_be_loaded_is_one_line(folder: Path, damage: str) -> None:
    change, said = DAMAGES[damage]
    assert local(folder).errors() == []
    change(folder)
    (line,) = local(folder).errors()
    assert line.startswith(f"backbone.path={folder}: {said.replace(chr(92), '')}")
    assert "; accepted: a folder with config.json, the files of a tokenizer and weights (model.safetensors" in line


def test_a_tokenizer_is_needed_for_text_alone(folder: Path) -> None:
    for name in READ[1:]:
        (folder / name).unlink()
    assert ["no tokenizer files in it" in line for line in local(folder).errors()] == [True]
    assert local(folder, "vision").errors() == []


# The configuration


def test_the_architecture_goes_over_config_json_and_omitted_keys_come_from_it(folder: Path) -> None:
    config = local(folder, architecture={"num_hidden_layers": 5}).config()
    assert (config.num_hidden_layers, config.hidden_size, config.hidden_dropout_prob) == (5, 8, 0.3)


def test_each_call_gives_a_configuration_of_its_own(folder: Path) -> None:
    weights = local(folder)
    weights.config().hidden_size = 99
    assert weights.config().hidden_size == 8


@pytest.mark.parametrize(
    ("architecture", "said"),
    [
        ({"model_type": "roberta"}, r"architecture\.model_type=roberta: config\.json of .* says bert; accepted: bert$"),
        (
            {"hiden_size": 16},
            r"hiden_size: no key of a bert model \(did you mean backbone\.architecture\.hidden_size\?\)",
        ),
        ({"hidden_size": "wide"}, r"architecture=\{hidden_size: wide\}: not accepted"),
    ],
)
def test_an_architecture_that_does_not_go_with_config_json_is_refused(
    folder: Path, architecture: dict[str, object], said: str
) -> None:
    with pytest.raises(SpecError, match=rf"^backbone\.{'' if said.startswith('arch') else 'architecture.'}{said}"):
        local(folder, architecture=architecture).config()


def test_a_config_json_that_transformers_does_not_read_is_one_line(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "no-such-model"}')
    with pytest.raises(SpecError, match=r"^backbone\.path=.*: config\.json: not accepted \(.*; accepted: "):
        local(folder).config()


@pytest.mark.parametrize(
    "sizes",
    [
        *({"hidden_size": value} for value in (-16, 0)),
        *({"num_hidden_layers": value} for value in (-1, 10**6)),
        {"num_attention_heads": 0, "vocab_size": -1},
        {"max_position_embeddings": -5},
    ],
)
def test_a_size_that_no_model_has_is_a_line(folder: Path, sizes: dict[str, int]) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", **sizes}))
    with pytest.raises(SpecError) as in_file:
        local(folder).config()
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(SpecError) as in_settings:
        local(folder, architecture=sizes).config()
    for name, value in sizes.items():
        said = f"{name}={value}: no size; accepted: an integer of at least 1"
        assert any(f"config.json: {said}" in line for line in in_file.value.errors)
        assert any(line.startswith(f"backbone.architecture.{said}") for line in in_settings.value.errors)
    assert len(in_file.value.errors) == len(in_settings.value.errors) == len(sizes)


def test_a_folder_that_is_not_there_is_not_looked_for_on_the_hub(tmp_path: Path, server: HubServer) -> None:
    with pytest.raises(SpecError, match=r"^backbone\.path=.*: no config\.json in it; accepted: a folder with one"):
        local(tmp_path / "owner" / "name").config()
    assert server.requests == []


# The hub


def test_a_hubs_reference_names_the_commit(server: HubServer, folder: Path) -> None:
    commit = server.push("models", "owner/bert", folder)
    weights = weights_of(backbone("owner/bert"), timeout=5)
    assert weights.errors() == []
    assert weights.reference() == {"hub": "owner/bert", "revision": "main", "commit": commit}
    assert weights.present() is None
    assert weights.folder() == weights.present()
    assert weights.config().hidden_size == 8


def test_the_commit_of_a_plan_is_not_asked_for_again(server: HubServer, folder: Path) -> None:
    planned = server.push("models", "owner/bert", folder)
    reference = weights_of(backbone("owner/bert"), timeout=5).reference()
    (folder / "vocab.txt").write_text("another")
    server.push("models", "owner/bert", folder)
    weights = weights_of(backbone("owner/bert"), timeout=5, reference=reference)
    assert weights.reference()["commit"] == planned
    assert weights.folder().name == planned
    assert weights.notes == []


def test_before_a_download_the_architecture_gives_shapes_and_the_hub_is_not_asked(server: HubServer) -> None:
    section = backbone("owner/bert").model_copy(update={"architecture": {"model_type": "bert", "hidden_size": 24}})
    assert weights_of(section, timeout=5).config().hidden_size == 24
    assert server.requests == []
    with pytest.raises(SpecError, match=r"^backbone\.architecture\.model_type=null: missing"):
        weights_of(section.model_copy(update={"architecture": {"hidden_size": 24}}), timeout=5).config()


def test_without_an_architecture_the_configuration_alone_is_fetched(server: HubServer, folder: Path) -> None:
    server.push("models", "owner/bert", folder)
    assert weights_of(backbone("owner/bert"), timeout=5).config().hidden_size == 8
    assert server.files_asked_for() == {"config.json"}


def test_a_repository_that_is_not_there_is_an_error(server: HubServer) -> None:
    (line,) = weights_of(backbone("owner/none"), timeout=5).errors()
    assert line.startswith("backbone.hub=owner/none: ")


def test_cached_weights_are_looked_through(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot(cache, "model", "owner/bert", "config.json", "tokenizer.json", "model.safetensors")
    reference = {"hub": "owner/bert", "revision": "main", "commit": COMMIT}
    (line,) = weights_of(backbone("owner/bert"), timeout=1, reference=reference).errors()
    assert line.startswith("backbone.hub=owner/bert: model.safetensors is damaged")


# The suite's own


def test_the_reference_of_an_embedded_backbone_is_its_recipe() -> None:
    section = Backbone(name="embedded-vit", family="vision", source="embedded", target_modules=["q"], head=[])
    weights = weights_of(section, timeout=1)
    assert weights.errors() == []
    assert set(weights.reference()) == {"pretraining"}
    assert weights.present() is None, "nothing is pretrained for it"


def test_an_embedded_backbone_that_is_not_made_is_refused() -> None:
    section = Backbone(name="vit-base", family="vision", source="embedded", target_modules=["q"], head=[])
    (line,) = weights_of(section, timeout=1).errors()
    assert line.startswith("backbone=vit-base: the suite pretrains no such backbone")
    assert line.endswith("accepted: embedded-vit")


def test_of_many_names_three_are_told() -> None:
    assert some(["a", "b", "c"]) == "a, b, c"
    assert some(list("abcde")) == "a, b, c and 2 more"
