"""Any JSON lines scored: counts, intervals, verdicts by line, and what is refused, with its line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from experiments.__main__ import main

ROWS = [
    {"generation": "5 apples.\n#### 5", "gold": "5"},
    {"generation": "It is 6.", "gold": "2 + 4 = 6\n#### 6"},
    {"generation": "I do not know.", "gold": "7"},
    {"generation": "#### 8", "gold": "9"},
]


def text_of(rows: list[dict[str, object]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text(text_of(ROWS), encoding="utf-8")
    return path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["score", *arguments]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    (line,) = output.err.splitlines()
    assert line.startswith("error: ")
    assert "; accepted: " in line
    return line


def test_counts_fractions_and_intervals(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", str(file)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "lines: 4",
        # By the formula of Wilson (1927), z = 1.96.
        "strict: 0.2500 (1 of 4 right; 95 % interval 0.0456 to 0.6994)",
        "lenient: 0.5000 (2 of 4 right; 95 % interval 0.1500 to 0.8500)",
        "unanswered: 1",
    ]


def test_verdicts_are_written_by_line_and_never_over_a_file(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(f"\n{file.read_text()}")
    out = tmp_path / "verdicts.jsonl"
    assert main(["score", str(file), "--out", str(out)]) == 0
    verdicts = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["line"] for row in verdicts] == [2, 3, 4, 5]
    assert verdicts[1] == {
        "line": 3,
        "gold": "6",
        "strict_answer": None,
        "lenient_answer": "6",
        "strict": False,
        "lenient": True,
    }
    capsys.readouterr()
    content = out.read_text()
    assert f"--out={out}: is there already" in refused(capsys, str(file), "--out", str(out))
    assert "--out=" in refused(capsys, str(file), "--out", str(tmp_path / "nowhere" / "x"))
    assert "--out=" in refused(capsys, str(file), "--out", str(file))
    assert out.read_text() == content


def test_other_keys_kinds_and_prompts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(text_of([{"output": "The answer is: \\dfrac12", "solution": "So $\\boxed{\\frac{1}{2}}$."}]))
    keys = ["--generation", "output", "--gold", "solution", "--kind", "math"]
    assert main(["score", str(path), *keys, "--prompt", "question-answer"]) == 0
    assert "strict: 1.0000" in capsys.readouterr().out
    assert main(["score", str(path), *keys, "--prompt", "plain"]) == 0
    assert "strict: 0.0000" in capsys.readouterr().out


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + text_of(ROWS).encode(),
        text_of(ROWS).replace("\n", "\r\n").encode(),
        text_of(ROWS).rstrip("\n").encode(),
        gzip.compress(text_of(ROWS).encode()),
        gzip.compress(b"\xef\xbb\xbf" + text_of(ROWS).encode()),
    ],
    ids=["byte order mark", "carriage returns", "no last newline", "gzip", "both"],
)
def test_files_as_they_come(content: bytes, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_bytes(content)
    assert main(["score", str(file)]) == 0
    assert capsys.readouterr().out.startswith("lines: 4\nstrict: 0.2500")


def test_a_line_ends_where_json_lines_end(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text('{"generation": "\u2028#### 5\x85", "gold": "5"}\n', encoding="utf-8")
    assert main(["score", str(file)]) == 0
    assert "strict: 1.0000 (1 of 1 right" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{", "line 3: no JSON"),
        (b"[" * 100_000, "line 3: no JSON"),
        (b"5", "line 3: 5: no object"),
        (b"[1]", "line 3: [1]: no object"),
        (b"{}", "line 3: no key generation, only none"),
        (b'{"generation": "5"}', "line 3: no key gold, only generation"),
        (b'{"generation": null, "gold": "5"}', "line 3: generation=null"),
        (b'{"generation": ["5"], "gold": "5"}', 'line 3: generation=["5"]'),
        (b'{"generation": "5", "gold": 5}', "line 3: gold=5"),
        (b'{"generation": "5", "gold": null}', "line 3: gold=null"),
        (b'{"generation": "5", "gold": ""}', "line 3: gold=''"),
        (b'{"generation": "5", "gold": "twelve"}', "line 3: gold='twelve'"),
        (b'{"generation": "5", "gold": "3:30"}', "line 3: gold='3:30'"),
        (b'{"generation": "\xff", "gold": "5"}', "line 3: not UTF-8"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_line_that_is_not_one_is_named(
    line: bytes, said: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = json.dumps(ROWS[0]).encode()
    file.write_bytes(b"\n".join([good, good, line, good]))
    assert f"FILE={file}: {said}" in refused(capsys, str(file))


def test_a_file_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.jsonl"
    assert "cannot be read (No such file" in refused(capsys, str(path))
    assert "cannot be read (Is a directory)" in refused(capsys, str(tmp_path))
    for content in (b"", b"\n \n", b"\xef\xbb\xbf"):
        path.write_bytes(content)
        assert "no lines" in refused(capsys, str(path))
    path.write_bytes(gzip.compress(text_of(ROWS).encode())[:-9])
    assert "cannot be read (gzip: damaged)" in refused(capsys, str(path))
    path.write_text(text_of(ROWS), encoding="utf-16")
    assert "line 1: not UTF-8" in refused(capsys, str(path))
    assert "--prompt=nosuch: no such template" in refused(capsys, str(path), "--prompt", "nosuch")
