"""The table in docs/types.md is what the rows say."""

from __future__ import annotations

from tests.types_table import PAGE, page


def test_table_is_up_to_date() -> None:
    written = PAGE.read_text(encoding="utf-8")
    assert written == page(written), "run: python -m tests.types_table"
