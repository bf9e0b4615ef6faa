"""What the isometry table says of directions that change nothing."""

from __future__ import annotations

from pathlib import Path

from analysis.plots.isometry_table import isometry_data, isometry_markdown
from analysis.records import read_runs
from tests.analysis.conftest import record, write
from tests.analysis.plots.conftest import isometry


def test_an_estimated_count_has_its_interval_and_a_counted_one_has_none(tmp_path: Path) -> None:
    estimated = isometry("lora")
    estimated["jacobian"][-1] |= {"null_directions": 771.19, "null_interval": [752.05, 790.33]}
    write(tmp_path, record("lora", diagnostics={"isometry": estimated}))
    write(tmp_path, record("unilora", diagnostics={"isometry": isometry("lora")}))
    data = isometry_data(read_runs(tmp_path).kept)
    assert data["null_low"].tolist()[0] == 752.05
    text = isometry_markdown(data)
    assert "| 771 [752, 790] |" in text
    assert "| 3 |" in text
