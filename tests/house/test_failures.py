"""The table of what can go wrong, failures.csv.

Each row says what then happens and which tests show it.
"""

import ast
import csv
from pathlib import Path

import pytest

from tests.helpers.processes import ROOT

with Path(__file__).with_name("failures.csv").open(encoding="utf-8", newline="") as file:
    ROWS = list(csv.DictReader(file))


def functions_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {f"{path.name}::{node.name}" for node in tree.body if isinstance(node, ast.FunctionDef)}


KNOWN = {name for path in (ROOT / "tests").rglob("test_*.py") for name in functions_in(path)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["what goes wrong"])
def test_the_tests_that_show_a_row_exist(row: dict[str, str]) -> None:
    named = row["shown by"].split()
    assert named and not set(named) - KNOWN
    assert row["what happens"] and None not in row


def test_no_row_stands_twice() -> None:
    faults = [row["what goes wrong"] for row in ROWS]
    assert len(faults) == len(set(faults))
