"""A book's journal: every date is ranked again from it, every order sent again."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from strategy_plugin import replay
from tests.helpers.book_account import Costs, book_run, ragged_universe
from tests.helpers.live import LiveProbabilities, ticks
from tests.helpers.makers import random_bars, random_checkpoint

UNIVERSE = ragged_universe(10, 120)
COSTS = Costs(np.full(10, 0.001), np.full(10, 0.02))
RULES: dict[str, Any] = {"long": 3, "short": 3, "keep": 2.0, "gross": 0.9}
BARS = {name: random_bars(170, seed=seed) for seed, name in enumerate("abcde")}


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.filterwarnings("ignore:.*orders in a row were refused")
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"rebalance": 4, "weights": "inverse-volatility", "window": 5},
        {"fractional": False, "patience": 2, "delisting_loss": 0.2},
        {"short": 0, "gross": 1.0, "keep": 1.0},  # the cash does not suffice
    ],
    ids=str,
)
def test_a_backtest_is_decided_again_without_a_difference(
    tmp_path: Path, params: dict[str, Any]
) -> None:
    path = tmp_path / "book.jsonl"
    book_run(UNIVERSE, COSTS, journal=str(path), **RULES | params)
    dates = [line for line in lines_of(path) if "date" in line]
    assert len(dates) == 120
    assert any(date["settled"] for date in dates) or params.get("short") == 0
    assert any(date["share"] < 1 for date in dates) == (params.get("gross") == 1.0)
    assert replay(path) == (sum(map(len, UNIVERSE.values())), [])


@pytest.mark.parametrize("mode", [{}, {"runonce": False}], ids=str)
def test_the_forecasts_of_one_model_are_made_again(tmp_path: Path, mode: dict[str, Any]) -> None:
    model = tmp_path / "pooled.ckpt"
    random_checkpoint(BARS["a"], trained_until=BARS["a"].index[155]).save(model)
    path = tmp_path / "book.jsonl"
    rules = RULES | {"long": 1, "short": 2}
    book_run(BARS, mode=mode, checkpoint=str(model), journal=str(path), **rules)
    assert replay(path) == (5 * 170, [])


@pytest.mark.filterwarnings("ignore:.*fractional units", "ignore:.*came after that date was ranked")
@pytest.mark.parametrize("wait", [1e6, 1e-9], ids=["patient", "impatient"])
def test_bars_that_came_late_are_decided_again(tmp_path: Path, wait: float) -> None:
    draw = np.random.default_rng(3)

    def feeds(bars: Any, name: str) -> LiveProbabilities:
        slow = [event for tick in ticks(bars) for event in (*[None] * draw.integers(0, 3), tick)]
        return LiveProbabilities(dataname=["LIVE", *slow], name=name)

    path = tmp_path / "book.jsonl"
    strategy = book_run(UNIVERSE, feeds=feeds, wait=wait, journal=str(path), **RULES)
    late = [line for line in lines_of(path) if line.get("reason", "").startswith("a bar after")]
    assert bool(late) == (wait < 1) and strategy.n_ranked > 10
    assert replay(path).differences == []


def test_a_line_that_was_changed_is_found(tmp_path: Path) -> None:
    path = tmp_path / "book.jsonl"
    book_run(UNIVERSE, journal=str(path), **RULES | {"keep": 1.0})
    lines = lines_of(path)
    entry = [line for line in lines if line.get("data") == "n05"][40]
    entry["probability"] = 0.01 if entry["weight"] > 0 else 0.99  # on the other side
    path.write_text("\n".join(map(json.dumps, lines)))
    [first, *_] = replay(path).differences
    assert first.startswith("data n0") and entry["bar"][:10] in first
    del lines[1]["share"]
    path.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(ValueError, match="must hold the lines of a journal, got one that is none"):
        replay(path)
