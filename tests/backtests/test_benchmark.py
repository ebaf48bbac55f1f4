"""The benchmark runs from end to end, its rivals compute what we compute, and its table and JSON
are whole.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from backtests import benchmarks
from backtests.benchmark import Disagreement, app
from backtests.benchmarks import contests, live, ordering, trading
from backtests.benchmarks.contests import CONTESTS, FASTER, LONGER, Contest, Goal
from backtests.benchmarks.features import PandasTools, TalibTools, Tools, usual_features
from backtests.benchmarks.plain import next_opens_rise, pooled_parts_of
from backtests.benchmarks.pooled import POOLED, windows_alone, windows_pooled
from backtests.benchmarks.pybroker import NAMES, features_and_labels, planted, with_features
from backtests.benchmarks.rounds import Sample, Samples, Size
from backtests.benchmarks.training import WINDOW, plan_of, steps_ours, steps_plain
from model.features.table import CALENDAR_CYCLES, FEATURE_NAMES, LOOKBACK, FeatureEngineer
from model.labels.moves import make_labels
from model.training.data import prepare
from tests.helpers.makers import random_bars, random_checkpoint

# Those without processes and trainings.
QUICK = (
    "backtest-forward",
    "next",
    "live",
    "order",
    "sweep",
    "growth",
)


@pytest.fixture
def small_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A small random network in the place of the trained one."""
    hours = random_bars(freq="h")
    checkpoint = random_checkpoint(hours, instrument=None)
    checkpoint.save(tmp_path / "model.ckpt")
    for room in (trading, live, ordering):
        monkeypatch.setattr(room, "model_file", lambda: str(tmp_path / "model.ckpt"), raising=False)
        monkeypatch.setattr(room, "model", lambda: checkpoint)
    monkeypatch.setattr(trading, "small_model_file", lambda: str(tmp_path / "model.ckpt"))


def contest(ours: list[float], theirs: list[float], **fields: Any) -> Contest:
    """A contest whose sides have done their work."""
    sides = [Samples([Sample(1, 1.0, 2.0, output=output)]) for output in (ours, theirs)]
    given = {
        "goals": (Goal(FASTER, 2.0, "wall"),),
        "full": Size(1, 1, 1),
        "quick": Size(1, 1, 1),
    } | fields
    return Contest(
        name="one", work="work", against="other work", unit="bar", meet=lambda size: sides, **given
    )


def run(monkeypatch: pytest.MonkeyPatch, *contests: Contest, arguments: str = "") -> None:
    monkeypatch.setattr(benchmarks, "CONTESTS", contests)
    app(arguments.split(), exit_on_error=False, result_action="return_value")


def test_the_benchmark_runs_from_end_to_end(
    small_model: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "found.json"
    app(
        ["--quick", "--contests", *QUICK, "--record", str(file)],
        exit_on_error=False,
        result_action="return_value",
    )
    found = json.loads(file.read_text())
    assert (
        [entry["name"] for entry in found["contests"]] == list(QUICK)
        and found["quick"]
        and found["machine"]["torch"]
    )
    assert all(entry["difference"] <= 1e-5 for entry in found["contests"])
    assert all(
        goal["cpu"] > 0 and goal["wall"] > 0
        for entry in found["contests"]
        for goal in entry["goals"]
    )
    printed = capsys.readouterr().out
    assert all(f"\n{name}: " in f"\n{printed}" and f"│ {name} " in printed for name in QUICK)


def test_the_table_has_a_row_for_each_goal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    goals = (Goal(FASTER, 2.0, "wall"), Goal(LONGER, 1.0, name="again"))
    run(monkeypatch, contest([1.0], [1.0], goals=goals))
    printed = capsys.readouterr().out
    assert "found 1 x, the goal is >= 2 x, again 1 x, the goal is <= 1 x" in printed
    rows = [
        " ".join(line.replace("│", " ").split()) for line in printed.splitlines() if "│" in line
    ]
    assert rows == ["one bar 1000 1000 >= 2 x 1 1* no", "one, again bar 1000 1000 <= 1 x 1* 1 yes"]


def test_sides_that_do_not_compute_the_same_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        Disagreement,
        match=r"both sides of 'one' must come to the same within 1e-05, got 0\.5 apart: ",
    ):
        run(monkeypatch, contest([1.0], [1.5]))


def test_losses_may_differ_as_those_of_seeds_do(monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, contest([1.1, 2.0, 3.0], [1.0, 2.0, 3.0], tolerance=None))
    with pytest.raises(Disagreement, match="within 2, got 2.5 apart"):
        run(monkeypatch, contest([3.5, 2.0, 3.0], [1.0, 2.0, 3.0], tolerance=None))


NOT_INSTALLED = (
    "no_such_package is not installed: pip install -c tests/constraints.txt -e '.[benchmark]'"
)


@pytest.mark.parametrize(
    ("needs", "reason"),
    [
        (("no_such_package",), NOT_INSTALLED),
        (("no_such_package", "bf16"), f"{NOT_INSTALLED} and this processor has no bf16"),
    ],
)
def test_what_cannot_be_run_is_left_out_with_a_word(
    needs: tuple[str, ...],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(contests, "bf16_support", lambda: "none")
    run(monkeypatch, contest([1.0], [1.0], needs=needs))
    assert f"one: left out, {reason}\n" in capsys.readouterr().out


def test_an_unknown_contest_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="unknown contest: 'trainin'. Did you mean 'training'"):
        app(
            ["--contests", "trainin"],
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )


def test_no_backtest_finds_what_another_left() -> None:
    for sizes in (
        [contest.full.ours for contest in CONTESTS if contest.name.startswith("backtest-")],
        [contest.quick.ours for contest in CONTESTS if contest.name.startswith("backtest-")],
    ):
        assert len(set(sizes)) == len(sizes) == 6


def test_contests_have_names_of_their_own_and_goals() -> None:
    assert len({contest.name for contest in CONTESTS}) == len(CONTESTS)
    assert all(contest.goals and contest.quick <= contest.full for contest in CONTESTS)


@pytest.mark.parametrize(
    ("goal", "found", "met"),
    [
        (Goal(FASTER, 2.0), 2.0, True),
        (Goal(FASTER, 2.0), 1.9, False),
        (Goal(LONGER, 2.0), 2.0, True),
        (Goal(LONGER, 2.0), 2.1, False),
    ],
)
def test_a_goal_knows_whether_more_is_better(goal: Goal, found: float, met: bool) -> None:
    assert goal.met(found) == met


@pytest.mark.parametrize("tools", [PandasTools, TalibTools])
def test_the_usual_features_are_ours(tools: type[Tools]) -> None:
    bars = random_bars(500, freq="7h")
    with np.errstate(all="ignore"):
        usual = usual_features(bars, tools()).iloc[LOOKBACK - 1 :]
    assert list(usual.columns) == list(FEATURE_NAMES)
    pd.testing.assert_frame_equal(
        usual, FeatureEngineer().transform(bars), rtol=0, atol=1e-7, check_freq=False
    )


def test_the_plain_loop_learns_as_ours_does() -> None:
    ours, theirs = steps_ours(100)(1), steps_plain(100)(1)
    assert ours.units == theirs.units and ours.output == pytest.approx(theirs.output, abs=1e-6)


def test_the_plain_loop_learns_from_several_instruments_as_ours_does() -> None:
    universe = planted(NAMES, WINDOW + 30)
    data = prepare(universe, replace(POOLED, train=0.8, validation=0.2))
    parts = [features_and_labels(with_features(bars)) for bars in universe.values()]
    (rows, labels, starts), validation, _ = pooled_parts_of(*zip(*parts))
    assert labels.tolist() == data.train.labels.tolist()
    assert len(validation[1]) == len(data.validation)
    # Eight dates, name by name; but for the calendar, which ours leaves as it is.
    for number in (0, 1, 8, 63):
        theirs, ours = rows[starts[number]], data.train.windows[number : number + 1].numpy()[0, 0]
        usual = [place for place, name in enumerate(FEATURE_NAMES) if name not in CALENDAR_CYCLES]
        assert theirs[usual] == pytest.approx(ours[usual], abs=1e-4)


def test_a_pooled_window_is_counted_once_for_each_instrument() -> None:
    pooled, alone = (side(800)(1) for side in (windows_pooled, windows_alone))
    assert pooled.units == pytest.approx(800, abs=2 * NAMES) and alone.units == 800


def test_the_plain_labels_are_ours() -> None:
    bars = random_bars(50)
    np.testing.assert_array_equal(
        next_opens_rise(bars["open"].to_numpy()), make_labels(bars).shift(-1).to_numpy()
    )


def test_few_bars_make_a_single_fold() -> None:
    assert (plan_of(1_200).folds, plan_of(5_031).folds) == (1, 8)
