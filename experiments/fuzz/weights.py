"""Folders of weights that are not as `save_pretrained` writes them."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from experiments.fuzz.case import Case, Expected
from experiments.fuzz.settings import SMALL

Damage = Callable[[Path], object]

_CONFIG, _WEIGHTS, _INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
_LOCAL = (*SMALL[1:], "data=embedded", "backbone.source=local", "backbone.path=weights", "recipe=default")
_RUNS: Mapping[str, tuple[str, ...]] = {
    "glue": ("task=glue/rte", "backbone=encoder", "backbone.max_length=32"),
    "vision": ("task=vision/digits", "backbone=vit"),
    "math": ("task=math/gsm8k", "backbone=causal", "backbone.max_length=32", "task.max_new_tokens=2", "method=lora"),
}
_SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def cases(generator: random.Random) -> Iterator[Case]:
    """A case for each family and damage, in the generator's order."""
    made = [(family, *damage) for family in _RUNS for damage in _damages(family)]
    generator.shuffle(made)
    for family, about, damage, expected in made:
        yield Case("weights", (*_LOCAL, *_RUNS[family]), expected, about, _maker(family, damage))


def _maker(family: str, damage: Damage) -> Damage:
    def make(folder: Path) -> None:
        weights = folder / "weights"
        shutil.copytree(_sound(family).name, weights)
        damage(weights)

    return make


def _damages(family: str) -> Iterator[tuple[str, Damage, Expected]]:
    yield "a sound folder", lambda folder: None, "done"
    for changes in _CONFIGS:
        yield f"{_CONFIG} with {changes}", _changed(_CONFIG, changes), "refused"
    for text in ("", "{", "[]", "5", "null", "\0", '"x"', "[" * 3000):
        yield f"{_CONFIG} is {text[:9]!r}", _replaced(_CONFIG, text.encode()), "refused"
    for name in (_CONFIG, _WEIGHTS):
        yield f"{name} is not there", _without(name), "refused"
        yield f"{name} is a folder", _folder(name), "refused"
        yield f"{name} is a link to nothing", _dangling(name), "refused"
        yield f"{name} is not UTF-8", _replaced(name, b"\xff\xfe{"), "refused"
    for content in (b"", b"01234567", b"\xff" * 8, b"<html>", b"\x02\0\0\0\0\0\0\0{}"):
        yield f"{_WEIGHTS} is {content!r}", _replaced(_WEIGHTS, content), "refused"
    yield f"{_WEIGHTS} is cut", _cut, "refused"
    yield from _TENSORS
    yield from _FILES
    yield from _PROCESSORS["image" if family == "vision" else "text"]


_CONFIGS: tuple[Mapping[str, Any], ...] = (
    *({"hidden_size": size} for size in ("wide", -16, 0, 17, 10**9, None, 16.5, [16], True)),
    *({"num_hidden_layers": count} for count in ("two", -1, 3, 1, 10**6)),
    *({"num_attention_heads": count} for count in (0, -1, "two", 3)),
    *({"intermediate_size": size} for size in (0, -1, 64)),
    {"model_type": None},
    {"model_type": "no-such-model"},
    {"model_type": 5},
    {"model_type": "gpt2"},
    {"hidden_act": "no-such-function"},
    {"hidden_act": 5},
    {"transformers_weights": "other.safetensors"},
    {"auto_map": {"AutoModel": "code.Model", "AutoConfig": "code.Config"}, "model_type": "own"},
)
"""Changes of config.json, none of which the weights go with."""


def _stored(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / _WEIGHTS)


def _save(folder: Path, tensors: Mapping[str, Any], name: str = _WEIGHTS) -> None:
    from safetensors.torch import save_file

    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / name)


def _tensors(change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> Damage:
    return lambda folder: _save(folder, change(_stored(folder)))


def _sharded(folder: Path) -> None:
    tensors = _stored(folder)
    names = sorted(tensors)
    shards = {f"model-0000{place + 1}-of-00002.safetensors": names[place::2] for place in range(2)}
    for shard, own in shards.items():
        _save(folder, {name: tensors[name] for name in own}, shard)
    index = {"metadata": {}, "weight_map": {name: shard for shard, own in shards.items() for name in own}}
    (folder / _INDEX).write_text(json.dumps(index), encoding="utf-8")
    (folder / _WEIGHTS).unlink()


def _of_shards(damage: Damage) -> Damage:
    def make(folder: Path) -> None:
        _sharded(folder)
        damage(folder)

    return make


def _other_bin(folder: Path) -> None:
    """What transformers would load is the pickle: of the safetensors it looks for model.safetensors alone."""
    (folder / _WEIGHTS).rename(folder / "weights.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x02}q\x00.")


_TENSORS: tuple[tuple[str, Damage, Expected], ...] = (
    ("no tensors", _tensors(lambda found: {}), "refused"),
    ("half of the tensors", _tensors(lambda found: {n: found[n] for n in sorted(found)[::2]}), "refused"),
    ("names begin with model.x.", _tensors(lambda found: {f"model.x.{n}": t for n, t in found.items()}), "refused"),
    ("half as wide", _tensors(lambda found: {n: t[..., : t.shape[-1] // 2] for n, t in found.items()}), "refused"),
    ("tensors in float16", _tensors(lambda found: {n: t.half() for n, t in found.items()}), "done"),
    ("tensors of integers", _tensors(lambda found: {n: t.long() for n, t in found.items()}), "either"),
    ("tensors of nan", _tensors(lambda found: {n: t * float("nan") for n, t in found.items()}), "either"),
    ("sound shards", _sharded, "done"),
    ("a shard is missing", _of_shards(lambda f: (f / "model-00002-of-00002.safetensors").unlink()), "refused"),
    ("a shard is cut", _of_shards(lambda f: (f / "model-00002-of-00002.safetensors").write_bytes(b"0")), "refused"),
    ("an index of nothing", _of_shards(lambda f: (f / _INDEX).write_text('{"weight_map": {}}')), "refused"),
    ("an index of numbers", _of_shards(lambda f: (f / _INDEX).write_text('{"weight_map": {"a": 1}}')), "refused"),
    ("an index that is a list", _of_shards(lambda f: (f / _INDEX).write_text("[]")), "refused"),
    ("an index of a shard elsewhere", _of_shards(lambda f: (f / _INDEX).write_text(_ELSEWHERE)), "refused"),
    ("an index of one shard of two", _of_shards(lambda f: _halved(f)), "refused"),
)
_ELSEWHERE = '{"weight_map": {"a": "../model-00001-of-00002.safetensors"}}'


def _halved(folder: Path) -> None:
    found = json.loads((folder / _INDEX).read_text(encoding="utf-8"))["weight_map"]
    kept = {name: shard for name, shard in found.items() if "00001-of" in shard}
    (folder / _INDEX).write_text(json.dumps({"weight_map": kept}), encoding="utf-8")


def _replaced(name: str, content: bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(content)


def _changed(name: str, changes: Mapping[str, Any]) -> Damage:
    def change(folder: Path) -> None:
        values = json.loads((folder / name).read_text(encoding="utf-8"))
        (folder / name).write_text(json.dumps({**values, **changes}), encoding="utf-8")

    return change


def _without(*names: str) -> Damage:
    def damage(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return damage


def _folder(name: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return damage


def _dangling(name: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to("nowhere")

    return damage


def _cut(folder: Path) -> None:
    content = (folder / _WEIGHTS).read_bytes()
    (folder / _WEIGHTS).write_bytes(content[: len(content) // 2])


def _emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("x", encoding="utf-8")


_FILES: tuple[tuple[str, Damage, Expected], ...] = (
    ("no folder", shutil.rmtree, "refused"),
    ("an empty folder", _emptied, "refused"),
    ("a file for a folder", _a_file, "refused"),
    ("a pickle alone", lambda folder: (folder / _WEIGHTS).rename(folder / "pytorch_model.bin"), "refused"),
    ("weights.safetensors and a pickle", _other_bin, "refused"),
    ("a pickle beside the weights", _replaced("pytorch_model.bin", b"\x80\x02}q\x00."), "done"),
    ("an adapter beside the weights", _replaced("adapter_config.json", b"{}"), "refused"),
    ("code beside the weights", _replaced("modeling.py", b"raise SystemExit('code was run')"), "done"),
    ("auto_map of code", _changed(_CONFIG, {"auto_map": {"AutoModel": "modeling.Model"}}), "either"),
    ("a damaged generation_config.json", _replaced("generation_config.json", b"{"), "either"),
)

_TOKENIZER, _TOKENIZER_CONFIG, _PREPROCESSOR = "tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"


def _vocabulary(change: Callable[[dict[str, int]], dict[str, int]]) -> Damage:
    def damage(folder: Path) -> None:
        values = json.loads((folder / _TOKENIZER).read_text(encoding="utf-8"))
        values["model"]["vocab"] = change(values["model"]["vocab"])
        (folder / _TOKENIZER).write_text(json.dumps(values), encoding="utf-8")

    return damage


_PROCESSORS: Mapping[str, tuple[tuple[str, Damage, Expected], ...]] = {
    "text": (
        *((f"{_TOKENIZER} is {text!r}", _replaced(_TOKENIZER, text), "refused") for text in (b"", b"{", b"[]", b"{}")),
        *((f"{_TOKENIZER_CONFIG} is {t!r}", _replaced(_TOKENIZER_CONFIG, t), "refused") for t in (b"", b"{", b"[]")),
        ("no tokenizer", _without(_TOKENIZER, _TOKENIZER_CONFIG), "refused"),
        ("no tokenizer.json", _without(_TOKENIZER), "refused"),
        ("no tokenizer_config.json", _without(_TOKENIZER_CONFIG), "either"),
        ("a tokenizer without padding", _changed(_TOKENIZER_CONFIG, {"pad_token": None}), "either"),
        ("a tokenizer of no class", _changed(_TOKENIZER_CONFIG, {"tokenizer_class": "NoSuchTokenizer"}), "either"),
        ("a tokenizer of code", _changed(_TOKENIZER_CONFIG, {"auto_map": {"AutoTokenizer": ["a.T", None]}}), "either"),
        ("ids beyond the model's", _vocabulary(lambda v: {w: i + 10**4 * (i > 4) for w, i in v.items()}), "refused"),
        ("ids a little beyond the model's", _vocabulary(lambda v: {w: i + (i > 4) for w, i in v.items()}), "either"),
        ("no words", _vocabulary(lambda v: {}), "refused"),
        ("no word for what is unknown", _vocabulary(lambda v: {w: i for w, i in v.items() if w != "[UNK]"}), "refused"),
    ),
    "image": (
        *((f"{_PREPROCESSOR} is {t!r}", _replaced(_PREPROCESSOR, t), "refused") for t in (b"", b"{", b"[]", b"{}")),
        (f"no {_PREPROCESSOR}", _without(_PREPROCESSOR), "refused"),
        *(
            (f"{_PREPROCESSOR} with {changes}", _changed(_PREPROCESSOR, changes), "refused")
            for changes in (
                {"image_mean": [0.5, 0.5]},
                {"image_mean": "grey"},
                {"image_std": [0, 0, 0]},
                {"image_std": None},
                {"image_std": [float("nan")] * 3},
                {"resample": 99},
                {"resample": "soft"},
                {"do_center_crop": True, "size": None, "crop_size": 8},
                {"crop_pct": "much"},
                {"crop_pct": -1},
            )
        ),
        ("image_size 9", _changed(_CONFIG, {"image_size": 9}), "either"),  # the patches of 8
        *((f"image_size {s}", _changed(_CONFIG, {"image_size": s}), "refused") for s in (0, -8, "large", 10**6)),
        *((f"patch_size {s}", _changed(_CONFIG, {"patch_size": s}), "refused") for s in (0, -2, "small", 16)),
        *((f"num_channels {s}", _changed(_CONFIG, {"num_channels": s}), "refused") for s in (0, 1, "three")),
    ),
}


@cache
def _sound(family: str) -> tempfile.TemporaryDirectory[str]:
    """A tiny model of a family with random weights, kept until the process ends."""
    kept = tempfile.TemporaryDirectory(prefix="gpart-fuzz-weights-")
    folder = Path(kept.name)
    if family == "vision":
        _image_model(folder)
    else:
        _text_model(folder, causal=family == "math")
    return kept


def _image_model(folder: Path) -> None:
    from transformers import ViTConfig, ViTModel

    ViTModel(ViTConfig(image_size=8, patch_size=2, **_SIZES)).save_pretrained(folder)
    statistics = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 2, "size": {"height": 8, "width": 8}}
    (folder / _PREPROCESSOR).write_text(json.dumps(statistics), encoding="utf-8")


def _text_model(folder: Path, causal: bool) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[END]", "the", "is", "not", *"0123456789"]
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="[END]", **special).save_pretrained(folder)
    sizes = {"vocab_size": len(words), "max_position_embeddings": 64, **_SIZES}
    model = LlamaForCausalLM(LlamaConfig(**sizes)) if causal else BertModel(BertConfig(**sizes))
    model.save_pretrained(folder)
