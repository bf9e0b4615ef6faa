from __future__ import annotations

import copy
from typing import Any

import pytest

from schema.reading import NewerRecord, read
from tests.analysis.conftest import identified, lowered, record


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


@pytest.mark.parametrize("version", [1, 2])
def test_a_part_that_is_not_there_at_all_is_named(version: int) -> None:
    content: dict[str, Any] = copy.deepcopy(record() if version == 2 else lowered(record()))
    del content["history"]
    with pytest.raises(ValueError, match=r"^missing keys: history; accepted: all of artifacts, config, cost, "):
        read(content)


@pytest.mark.parametrize(("values", "found"), [([], "list"), (None, "NoneType"), ("{}", "str")])
def test_what_is_no_object_is_no_record(values: object, found: str) -> None:
    with pytest.raises(ValueError, match=f"^a JSON {found}; accepted: the object that a run writes$"):
        read(values)


@pytest.mark.parametrize("version", [None, True, 0, 2.0, "2"])
def test_a_version_that_there_never_was_is_named(version: object) -> None:
    with pytest.raises(
        ValueError, match=r"^schema=\"?\w+(\.0)?\"?: unknown version of the record; accepted: 1, 2$"
    ) as error:
        read(record() | {"schema": version})
    assert not isinstance(error.value, NewerRecord)


def test_a_later_version_is_told_from_a_damaged_record() -> None:
    with pytest.raises(NewerRecord, match=r"^schema=3: of a later version of the suite; accepted: 1, 2$"):
        read({"schema": 3})
    with pytest.raises(NewerRecord, match=r"^identity\.version=3: of a later version of the suite; accepted: 1, 2$"):
        read({"schema": 2, "identity": {"version": 3}})
