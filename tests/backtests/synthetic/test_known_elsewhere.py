"""Markets of which other series, or slower bars, know what their own bars do not."""

import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from backtests.synthetic.markets import Market, market
from model.features.joining import add_context
from model.features.table import FeatureEngineer
from model.labels.moves import make_labels
from model.metrics import auc


def share_found(sample: Market, rows: pd.DataFrame) -> float:
    """The share of the best forecast's edge that a fast learner finds on the last three tenths."""
    up = make_labels(sample.bars).shift(-1).reindex(rows.index).iloc[:-2]
    border = len(up) * 7 // 10
    learner = make_pipeline(StandardScaler(), LogisticRegression(C=0.01))
    learner.fit(rows.iloc[:border], up[:border])
    said = learner.decision_function(rows.iloc[border : len(up)])
    best = sample.probability.reindex(up.index).to_numpy()[border:]
    ours, most = auc(up.to_numpy()[border:], said), auc(up.to_numpy()[border:], best)
    assert ours is not None and most is not None
    return (ours - 0.5) / (most - 0.5)


def joined(sample: Market, *texts: str) -> pd.DataFrame:
    bars = add_context(sample.bars, texts, series=sample.context)
    return FeatureEngineer(only=True, context=bars.attrs["context"]).transform(bars)


@pytest.fixture(scope="module")
def led() -> Market:
    return market("leader", 8_000)


def test_the_leaders_last_move_is_found_beside_the_bars_and_not_in_them(led: Market) -> None:
    assert abs(share_found(led, FeatureEngineer().transform(led.bars))) < 0.1
    rows = FeatureEngineer().transform(led.bars).join(joined(led, "leader"), how="inner")
    assert share_found(led, rows.dropna()) >= 0.9


def test_a_leader_whose_bars_end_an_hour_later_is_not_looked_at_before_they_do(
    led: Market,
) -> None:
    late = led.context["leader"].copy()
    late.index = late.index + pd.Timedelta(hours=1)
    bars = add_context(led.bars, "leader", series={"leader": late})
    rows = FeatureEngineer(only=True, context=bars.attrs["context"]).transform(bars)
    assert abs(share_found(led, rows.dropna())) < 0.1


def test_slower_bars_alone_know_which_way_the_wicks_of_a_week_point() -> None:
    sample = market("weekly", 16_000)
    ours = FeatureEngineer().transform(sample.bars)
    assert abs(share_found(sample, ours)) < 0.1
    weeks = joined(sample, "self:1W:bar_close_z,ret_z_2")
    # A wick that points up or down, in the words of the week before last.
    wick = ours["lower_wick"] - ours["upper_wick"]
    rows = weeks.mul(wick, axis=0).dropna()
    assert share_found(sample, rows.loc[rows.index >= ours.index[0]]) >= 0.9
