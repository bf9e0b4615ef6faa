"""What a record says of the packages and the data behind it."""

from __future__ import annotations

from experiments.records import provenance
from schema.record import Provenance


def test_every_package_that_a_number_goes_through_is_named() -> None:
    packages = provenance.collect(Provenance(), "off").packages
    through = {"torch", "torchvision", "timm", "transformers", "tokenizers", "peft", "safetensors", "huggingface-hub"}
    assert packages.keys() >= through | {"datasets", "evaluate", "pyarrow", "pillow", "numpy", "pandas", "python"}
    assert all(version[0].isdigit() for version in packages.values())


def test_what_data_and_weights_are_is_kept() -> None:
    found = provenance.collect(Provenance(data_reference={"commit": "a"}, backbone_reference={"commit": "b"}), "off")
    assert (found.data_reference, found.backbone_reference) == ({"commit": "a"}, {"commit": "b"})
