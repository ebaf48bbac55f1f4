"""The examples that a user copies: each runs as it stands, in a folder of its own, and trades."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.processes import ROOT, environment

EXAMPLES = sorted((ROOT / "strategy_plugin" / "examples").glob("*.py"))


def test_there_are_seven_examples_of_less_than_sixty_lines() -> None:
    assert len(EXAMPLES) == 7
    assert all(len(path.read_text().splitlines()) < 60 for path in EXAMPLES)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_changes_the_equity(example: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(example)],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    figures = re.findall(r"(?:equity|log return) +([-+,.0-9]+)", done.stdout)
    if example.stem == "live_feed":
        assert "1200 decisions made again, 0 differences" in done.stdout
    if example.stem == "once_a_day":
        assert done.stdout.endswith("orders sent: 1\n") and done.stdout.count(" sent: ") == 2
        return
    assert figures and any(figure not in ("100,000.00", "+0.000") for figure in figures)
