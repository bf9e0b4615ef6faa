from __future__ import annotations

from schema.text import one_line


def test_a_long_text_keeps_its_begin_and_its_end() -> None:
    text = f"record.json: name={'x' * 900}: not accepted; accepted: a text"
    assert len(one_line(text)) == 500
    assert one_line(text).startswith("record.json: name=xxx")
    assert one_line(text).endswith("xxx: not accepted; accepted: a text")
    assert one_line("short\nlines") == "short lines"
