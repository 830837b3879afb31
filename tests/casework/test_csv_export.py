"""Files that go out: no cell is run by a spreadsheet, and no count tells of a few homes."""

from __future__ import annotations

import csv
import io
import itertools
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from casework import csv_export
from tests.conftest import SEED


@given(
    st.lists(
        st.dictionaries(
            st.just("c"), st.text() | st.integers() | st.none(), min_size=1, max_size=1
        ),
        max_size=8,
    )
)
@settings(max_examples=400, deadline=None)
def test_no_cell_is_a_formula_and_the_text_comes_back(rows: list[dict[str, Any]]) -> None:
    text = csv_export.to_csv(("c",), rows).decode("utf-8-sig")
    back = list(csv.reader(io.StringIO(text, newline="")))
    assert len(back) == len(rows) + 1
    for row, (cell,) in zip(rows, [line or [""] for line in back[1:]], strict=True):
        value = row["c"]
        if isinstance(value, str):
            assert not cell.startswith(tuple(csv_export.TRIGGERS)) and not cell.lstrip().startswith(
                tuple(csv_export.TRIGGERS)
            )
            plain = value.replace("\x00", "")
            assert cell in (plain, "'" + plain)
        else:
            assert cell == ("" if value is None else str(value))


def test_known_attacks_are_text() -> None:
    for attack in (
        "=1+1",
        "+cmd|' /C calc'!A0",
        "-2+3",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "＝1",
        " =HYPERLINK(1)",
        "\n@x",
    ):
        assert str(csv_export.neutral(attack)).startswith("'"), attack
    assert csv_export.neutral(-5) == -5 and csv_export.neutral("a=b") == "a=b"


def test_no_cell_can_be_worked_out() -> None:
    """Over random tables.

    Each count shown rests on enough homes on both sides, and a group's total leaves no blank
    alone.
    """
    rng = random.Random(SEED)
    for _ in range(400):
        rows = [
            {
                "estate": f"e{e}",
                "building": f"b{b}",
                "homes": (n := rng.choice([3, 8, 12, 40, 90])),
                "let": rng.randint(0, n),
                "leads": rng.randint(0, n),
            }
            for e in range(rng.randint(1, 3))
            for b in range(rng.randint(1, 5))
        ]
        out = csv_export.suppress(
            rows, group="estate", size="homes", counts=("let", "leads"), least=10
        )
        for before, after in zip(rows, out, strict=True):
            assert (after["homes"] is None) == (before["homes"] < 10)
            for name in ("let", "leads"):
                if after[name] is not None:
                    assert after[name] == before[name] and (after[name] == 0 or after[name] >= 10)
                    assert before["homes"] - after[name] == 0 or before["homes"] - after[name] >= 10
        for (_, group), name in itertools.product(
            itertools.groupby(out, key=lambda r: r["estate"]), ("let",)
        ):
            members = list(group)
            blanks = sum(1 for r in members if r[name] is None)
            assert blanks != 1 or len(members) == 1
