"""One control: scores on the same windows for all, rows kept by what decides them, silence judged
against chance.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from backtests.evidence.baselines import BASELINES, Array, Examples, examples_of, logistic
from backtests.synthetic import control as control_table
from backtests.synthetic.control import (
    SCORES,
    Control,
    Row,
    Store,
    as_json,
    gross_sharpe,
    judged,
    measure,
    share,
    share_interval,
    silence,
    write_table,
)
from backtests.synthetic.markets import Market, market
from model.checkpoint.checkpoint import Checkpoint
from model.metrics import auc_standard_error, classification_scores
from model.training.config import TrainConfig
from tests.helpers.makers import random_checkpoint

SEEDS, SILENT_BARS = range(1, 9), 3_000


@pytest.fixture
def control() -> Control:
    return Control("echo:strength=0.5", 3, 1_000, 500, TrainConfig())


@cache
def echo() -> Market:
    return market("echo", 3_000, 1)


@cache
def examples() -> Examples:
    return examples_of(echo().bars, TrainConfig(), 1_000)


def best() -> Array:
    return echo().probability.loc[examples().judged.timestamps].to_numpy()


# What a control is


def test_a_horizon_with_no_known_best_forecast_is_refused() -> None:
    with pytest.raises(
        ValueError,
        match="`horizon` must be 1, got 5: the best forecast is known for the next bar's move only",
    ):
        Control("echo", 1, 1_000, 0, TrainConfig(horizon=5))


def test_the_fresh_bars_follow_those_that_are_learned_from(control: Control) -> None:
    learned = market("echo", 1_000, 3, strength=0.5).bars
    assert (
        control.sample().bars.iloc[:1_000].equals(learned) and len(control.sample().bars) == 1_500
    )


# Scores


def test_the_best_forecast_has_all_of_the_edge_and_its_opposite_loses_it() -> None:
    labels = examples().judged.labels
    assert share(labels, best(), best()) == 1 and share(
        labels, 1 - best(), best()
    ) == pytest.approx(-1)
    assert share_interval(labels, best(), best()) == (1, 1)


def test_where_nothing_is_attainable_there_is_no_share() -> None:
    labels, said = np.array([0.0, 1.0, 1.0]), np.array([0.1, 0.6, 0.4])
    assert share(labels, said, np.full(3, 0.53)) is None and share_interval(
        labels, said, np.full(3, 0.53)
    ) == (None, None)


def test_the_interval_of_a_share_holds_the_share() -> None:
    labels, noisy = (
        examples().judged.labels,
        best() + np.random.default_rng(1).normal(0, 0.3, len(best())),
    )
    low, high = share_interval(labels, noisy, best())
    assert (
        low is not None
        and high is not None
        and low < (share(labels, noisy, best()) or 0) < high < low + 0.15
    )


def test_all_are_scored_on_the_same_windows_and_the_best_forecast_is_exact_there() -> None:
    row = judged(examples(), echo(), best())
    first = echo().bars.index.get_loc(examples().judged.timestamps[0])
    assert row["windows"] == len(best()) == 3_000 - 2 - first
    assert (row["auc"], row["log_loss"], row["sharpe"]) == (
        row["optimum_auc"],
        row["optimum_log_loss"],
        row["optimum_sharpe"],
    )
    assert row["auc"] == pytest.approx(0.937, abs=0.03) and row["optimum_sharpe"] == pytest.approx(
        1.03, abs=0.1
    )


def test_a_forecast_that_is_sharpened_shows_in_the_calibration() -> None:
    exact, sharpened = (
        judged(examples(), echo(), expit(factor * np.log(best() / (1 - best()))))
        for factor in (1, 3)
    )
    assert exact["calibration_error"] < exact["calibration_error_limit"]  # type: ignore[operator]
    assert sharpened["calibration_error"] > 2 * sharpened["calibration_error_limit"]  # type: ignore[operator]


def test_the_gross_sharpe_goes_with_every_forecast() -> None:
    earned = [0.01, 0.02, -0.01]
    assert gross_sharpe(np.array([0.9, 0.2, 0.6]), np.array([0.01, -0.02, -0.01])) == pytest.approx(
        np.mean(earned) / np.std(earned)
    )


def test_where_a_coin_is_fair_the_best_forecast_earns_nothing_and_has_no_sharpe_ratio() -> None:
    sample = market("walk", 800)
    judged_walk = examples_of(sample.bars, TrainConfig(), 800)
    fair = np.full(len(judged_walk.judged), 0.5)
    row = judged(judged_walk, sample, fair)
    assert (row["optimum_auc"], row["share"], row["optimum_sharpe"], row["sharpe"]) == (
        0.5,
        None,
        None,
        None,
    )
    assert as_json(row)


def test_a_row_names_the_control_and_scores_the_network_and_every_baseline(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned: list[int] = []

    def untrained(bars: Any, config: TrainConfig) -> Checkpoint:
        learned.append(len(bars))
        known = {"validation_log_loss": 0.68, "validation_logistic_log_loss": 0.69}
        return replace(random_checkpoint(bars), metrics=known)

    monkeypatch.setattr(control_table, "fit", untrained)
    row = measure(control)
    assert (row["validation_log_loss"], row["validation_logistic_log_loss"]) == (0.68, 0.69)
    assert learned == [1_000] and (row["market"], row["seed"], row["bars"], row["fresh"]) == (
        "echo:strength=0.5",
        3,
        1_000,
        500,
    )
    assert {
        f"{name}{score}" for name in ("", *(f"{name}_" for name in BASELINES)) for score in SCORES
    } <= set(row)
    assert not any("second" in name or "time" in name for name in row)


# Rows


def test_a_row_is_found_again_under_the_same_settings_only(
    control: Control, tmp_path: Path
) -> None:
    store = Store(tmp_path)
    store.folder.mkdir()
    store.save(control, {"auc": 0.7, "share": None})
    assert store.load(control) == {"auc": 0.7, "share": None}
    for other in (
        replace(control, seed=4),
        replace(control, market="echo"),
        replace(control, config=TrainConfig(max_epochs=3)),
    ):
        assert store.load(other) is None


@pytest.mark.parametrize(
    ("name", "another"),
    [("code_digest", lambda *names: "another"), ("machine", lambda: {"processor": "another"})],
)
def test_a_row_of_other_code_or_of_another_machine_is_measured_anew(
    control: Control, monkeypatch: pytest.MonkeyPatch, name: str, another: Callable[..., object]
) -> None:
    before = control.key
    monkeypatch.setattr(control_table, name, another)
    assert control.key != before


def test_the_table_is_written_as_json_with_the_bins_and_as_csv_without(tmp_path: Path) -> None:
    write_table(tmp_path, [{"market": "echo", "share": None, "reliability": [{"low": 0.1}]}])
    assert json.loads((tmp_path / "controls.json").read_text()) == [
        {"market": "echo", "share": None, "reliability": [{"low": 0.1}]}
    ]
    assert (tmp_path / "controls.csv").read_text() == "market,share\necho,\n"


# Silence


@cache
def silent_rows(name: str) -> list[Row]:
    """What logistic regression says of markets on which there is nothing to say."""
    return [
        silent_row(
            examples_of(market(name, SILENT_BARS, seed).bars, TrainConfig(), SILENT_BARS // 2),
            name,
        )
        for seed in SEEDS
    ]


def silent_row(sample: Examples, name: str) -> Row:
    labels = sample.judged.labels
    scores = classification_scores(labels, logistic(sample))
    return {
        "market": name,
        "windows": len(labels),
        "base_rate": scores["base_rate"],
        "standard_error": auc_standard_error(labels),
        **{f"logistic_{score}": scores[score] for score in SCORES},
    }


@pytest.mark.parametrize("name", ["walk", "walkdrift"])
def test_nothing_is_found_where_nothing_is(name: str) -> None:
    found = silence(silent_rows(name), ["logistic_"]).iloc[0]
    noise = 3 / np.sqrt(sum(float(str(row["windows"])) for row in silent_rows(name)))
    assert abs(found["surprise"]) < 3 and found["beyond_two"] <= 2
    assert found["balanced_accuracy"] == pytest.approx(0.5, abs=noise / 2) and found[
        "mcc"
    ] == pytest.approx(0, abs=noise)


def test_drift_is_not_sold_as_skill() -> None:
    found = silence(silent_rows("walkdrift"), ["logistic_"]).iloc[0]
    assert found["base_rate"] > 0.52 and found["accuracy"] <= found["base_rate"]


def test_a_leak_breaks_the_silence() -> None:
    sample = market("walk", SILENT_BARS, 1)
    known = examples_of(sample.bars, TrainConfig(), SILENT_BARS // 2)
    leak = sample.bars["close"].pct_change().shift(-1) * 100
    for part in (known.train, known.validation, known.judged):
        part.last_rows[:, 0] = leak.loc[part.timestamps]
    assert silence([silent_row(known, "walk")], ["logistic_"]).iloc[0]["surprise"] > 10


def test_the_surprise_is_the_mean_auc_in_standard_errors() -> None:
    same = {
        "market": "walk",
        "standard_error": 0.01,
        "base_rate": 0.5,
        "accuracy": 0.5,
        "balanced_accuracy": 0.5,
        "mcc": 0.0,
    }
    found = silence([same | {"auc": auc} for auc in (0.51, 0.53, 0.49, 0.51)], [""]).iloc[0]
    assert found["standard_error"] == pytest.approx(0.005) and found["surprise"] == pytest.approx(2)
    assert (found["forecaster"], found["seeds"], found["beyond_two"]) == ("network", 4, 1)
