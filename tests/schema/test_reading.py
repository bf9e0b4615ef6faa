from __future__ import annotations

import copy
from typing import Any

import pytest

from schema.reading import read
from tests.analysis.conftest import identified, lowered, record
from tests.analysis.plots.conftest import history


def test_a_record_of_schema_1_is_one_of_identity_1_in_the_newest_shape() -> None:
    old = lowered(record(config__backbone__image_size=112))
    old["key"]["backbone"] = "minilm-l6"
    found = read(old)
    assert (found.schema_version, found.identity.version) == (2, 1)
    assert (found.key.backbone, found.key.metric) == ("minilm-l6@112", "accuracy")
    hashed = found.identity.hashed
    assert hashed["recipe"]["learning_rate"] == 0.005
    assert hashed["data_reference"] == old["provenance"]["data_reference"]
    assert "logger" not in hashed


def test_the_engine_that_all_records_had_before_it_could_be_chosen_is_no_setting() -> None:
    assert (
        read(lowered(record(config__task__generation="transformers"))).identity.hashed["task"].keys()
        == read(lowered(record())).identity.hashed["task"].keys()
    )


def test_the_id_is_the_digest_of_what_is_hashed() -> None:
    content = record()
    assert read(content).id == identified(content)["id"]
    content["identity"]["hashed"]["seeds"]["head"] = 7
    with pytest.raises(ValueError, match=rf"id={content['id']}: identity.hashed is that of"):
        read(content)


def test_parts_are_left_unread_where_they_are_not_needed() -> None:
    content = record(history=history(), diagnostics={"isometry": {"status": "lost"}})
    found = read(content, without=("diagnostics",))
    assert len(found.history.epochs) == 3
    assert found.diagnostics.isometry is None
    with pytest.raises(ValueError, match=r"^diagnostics\.isometry=.*: not accepted; input tag 'lost'"):
        read(content)


@pytest.mark.parametrize("version", [1, 2])
def test_a_part_that_is_not_there_at_all_is_named_even_where_it_is_left_unread(version: int) -> None:
    content: dict[str, Any] = copy.deepcopy(record() if version == 2 else lowered(record()))
    del content["history"]
    with pytest.raises(ValueError, match=r"^missing keys: history; accepted: all of artifacts, config, cost, "):
        read(content, without=("history",))


@pytest.mark.parametrize(("values", "found"), [([], "list"), (None, "NoneType"), ({"schema": 3}, "3"), ({}, "None")])
def test_what_is_no_record_is_said_to_be_none(values: object, found: str) -> None:
    with pytest.raises(ValueError, match=f"^schema={found}: unknown version of the record; accepted: 1, 2$"):
        read(values)
