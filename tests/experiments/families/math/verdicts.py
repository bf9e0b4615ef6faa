"""Math-Verify's verdicts in verdicts.jsonl, made anew by `python -m tests.experiments.families.math.verdicts`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "verdicts.jsonl"


def load() -> list[dict[str, Any]]:
    """The rows: `kind`, `text`, `gold`, our lenient verdict, Math-Verify's, and where they differ `why`."""
    return [json.loads(line) for line in FILE.read_text(encoding="utf-8").split("\n") if line]


def math_verify(row: dict[str, Any]) -> bool:
    """Whether Math-Verify, called as its documentation does, takes a text's answer for the gold answer."""
    from math_verify import parse, verify

    gold = row["gold"] if row["kind"] == "number" else f"${row['gold']}$"
    return bool(verify(parse(gold), parse(row["text"])))


def _main() -> None:
    lines = [json.dumps(row | {"math_verify": math_verify(row)}, ensure_ascii=False) for row in load()]
    FILE.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    _main()
