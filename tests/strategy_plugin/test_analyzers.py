"""SignalQuality: the figures of what was decided on, and every refusal."""

from pathlib import Path
from typing import Any

import backtrader as bt
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from model.checkpoint.checkpoint import Checkpoint
from strategy_plugin import BiLSTMStrategy, SignalQuality, TradingWarning
from tests.helpers.hosts import RULES, feed, host
from tests.helpers.makers import random_bars, random_checkpoint


def quality(
    *feeds: Any,
    mode: dict[str, Any] | None = None,
    analyzer: dict[str, Any] | None = None,
    **params: Any,
) -> Any:
    cerebro = host(*feeds, **(mode or {}))
    cerebro.addstrategy(BiLSTMStrategy, **(RULES | params))
    cerebro.addanalyzer(SignalQuality, **(analyzer or {}))
    return cerebro.run()[0].analyzers.signalquality.get_analysis()


@pytest.mark.parametrize("mode", [{}, {"runonce": False}, {"exactbars": 1}])
def test_its_figures_are_those_of_probabilities_and_labels(
    bars: pd.DataFrame,
    checkpoint: Checkpoint,
    checkpoint_path: str,
    mode: dict[str, Any],
) -> None:
    figures = quality(feed(bars), mode=mode, checkpoint=checkpoint_path)["data"]
    probabilities = checkpoint.probabilities(bars).to_numpy()[:-2]
    opens = bars["open"].to_numpy()[150:]
    labels = opens[1:] > opens[:-1]
    assert figures["decisions"] == 249 and figures["up_share"] == pytest.approx(labels.mean())
    assert figures["auc"] == pytest.approx(roc_auc_score(labels, probabilities), abs=1e-6)
    assert figures["brier"] == pytest.approx(np.mean((probabilities - labels) ** 2), abs=1e-6)
    assert figures["hit_rate"] == pytest.approx(np.mean((probabilities > 0.5) == labels))
    assert (
        sum(group["bars"] for group in figures["calibration"]) == 249 and figures["in_sample"] == 0
    )


def test_label_and_horizon_are_the_checkpoints_unless_given(
    bars: pd.DataFrame, tmp_path: Path
) -> None:
    random_checkpoint(bars, label="close", horizon=5).save(tmp_path / "a.ckpt")
    own = quality(feed(bars), checkpoint=str(tmp_path / "a.ckpt"))["data"]
    given = quality(
        feed(bars), checkpoint=str(tmp_path / "a.ckpt"), analyzer={"label": "open", "horizon": 1}
    )["data"]
    assert (own["decisions"], given["decisions"]) == (246, 249)


def test_bars_that_were_not_decided_on_do_not_count(bars: pd.DataFrame, tmp_path: Path) -> None:
    random_checkpoint(bars, bars.index[300]).save(tmp_path / "a.ckpt")
    refused = quality(feed(bars), checkpoint=str(tmp_path / "a.ckpt"))["data"]
    traded = quality(feed(bars), checkpoint=str(tmp_path / "a.ckpt"), in_sample="trade")["data"]
    assert (
        refused["decisions"] == 98
        and refused["refused"]["in sample"] == 300
        and refused["in_sample"] == 0
    )
    assert traded["decisions"] == 249 and traded["in_sample"] == 151


def test_each_data_has_its_own_figures(bars: pd.DataFrame, checkpoint_path: str) -> None:
    figures = quality(
        feed(bars, "one"),
        feed(random_bars(300, seed=5).iloc[50:], "other"),
        checkpoint=checkpoint_path,
    )
    assert (figures["one"]["decisions"], figures["other"]["decisions"]) == (249, 99)


def test_of_a_run_without_decisions_every_figure_is_undefined(
    bars: pd.DataFrame, checkpoint_path: str
) -> None:
    with pytest.warns(
        TradingWarning,
        match="none of its 100 bars had a forecast, so none was traded: fewer than 150 were sound",
    ):
        figures = quality(feed(bars.iloc[:100]), checkpoint=checkpoint_path)["data"]
    assert (
        figures["decisions"] == 0
        and figures["auc"] is figures["brier"] is figures["hit_rate"] is figures["up_share"] is None
    )


def test_it_can_be_printed_by_the_host(
    bars: pd.DataFrame, checkpoint_path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cerebro = host(feed(bars))
    cerebro.addstrategy(BiLSTMStrategy, checkpoint=checkpoint_path, **RULES)
    cerebro.addanalyzer(SignalQuality)
    cerebro.run()[0].analyzers.signalquality.print()
    assert "hit_rate" in capsys.readouterr().out


def test_a_label_that_does_not_exist_is_refused(bars: pd.DataFrame, checkpoint_path: str) -> None:
    with pytest.raises(ValueError, match="`label` must be one of open, close, got 'high'."):
        quality(feed(bars), checkpoint=checkpoint_path, analyzer={"label": "high"})


def test_another_strategy_is_refused(bars: pd.DataFrame) -> None:
    cerebro = host(feed(bars))
    cerebro.addstrategy(bt.Strategy)
    cerebro.addanalyzer(SignalQuality)
    with pytest.raises(
        TypeError,
        match="SignalQuality must analyze a BiLSTMStrategy, got Strategy. Add it beside one.",
    ):
        cerebro.run()
