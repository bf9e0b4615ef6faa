"""The identities of the published records follow from their own configuration."""

from __future__ import annotations

import json
from pathlib import Path

from experiments.families import spec_of
from schema.identity import parts, run_id

RESULTS = Path(__file__).resolve().parents[2] / "results"


def test_the_ids_of_all_published_records_follow_from_the_schema() -> None:
    paths = sorted(RESULTS.rglob("record.json"))
    assert len(paths) == 207
    for path in paths:
        record = json.loads(path.read_text(encoding="utf-8"))
        references = [record["provenance"][name] for name in ("data_reference", "backbone_reference")]
        spec = spec_of(record["config"]["task"]["family"])
        assert run_id(parts(record["config"], *references, spec)) == record["id"], path
