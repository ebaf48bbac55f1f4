"""Bars that end with a volume or a move of the price are refused before anything is trained."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from backtests.walk_forward.folds import FoldPlan, lay_folds
from model.bars.read import read_bars
from model.errors import BarsError
from model.training.config import TrainConfig
from model.training.fitting import fit
from tests.helpers.makers import MERGED, random_bars

REFUSED = r"no usual distance of time: the commonest, .*, is that of \d\.\d% of them"


@pytest.fixture
def dollar_bars() -> pd.DataFrame:
    """Bars that close with each million traded, some seconds to half an hour apart."""
    seconds = np.random.default_rng(0).gamma(4.0, 120.0, 3000).round() + 1
    index = pd.Timestamp("2023-03-01") + pd.to_timedelta(np.cumsum(seconds), unit="s")
    return random_bars(3000).set_axis(index.as_unit("ns").rename("date"))


def test_a_file_of_dollar_bars_is_refused_and_read_once_they_are_of_equal_time(
    dollar_bars: pd.DataFrame, tmp_path: Path
) -> None:
    dollar_bars.to_csv(tmp_path / "dollars.csv")
    with pytest.raises(BarsError, match=f"{REFUSED}.*dollar, tick, Renko.*Make bars of equal time"):
        read_bars(tmp_path / "dollars.csv")
    dollar_bars.resample("h").agg(MERGED).to_csv(tmp_path / "hours.csv")
    assert len(read_bars(tmp_path / "hours.csv")) > 400


def test_neither_a_training_nor_a_walk_forward_begins_on_them(dollar_bars: pd.DataFrame) -> None:
    with pytest.raises(BarsError, match=REFUSED):
        fit(dollar_bars, TrainConfig(max_epochs=1))
    with pytest.raises(BarsError, match=REFUSED):
        lay_folds(dollar_bars, FoldPlan(), TrainConfig())
