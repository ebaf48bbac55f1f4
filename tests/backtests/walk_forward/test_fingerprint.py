from dataclasses import replace

import pytest

from backtests.simulation.account import Costs
from backtests.walk_forward.fingerprint import key_of
from model.bars.artefacts import FlagRecord
from model.training.config import TrainConfig


def test_equal_content_has_equal_keys(bars):
    assert key_of(bars, TrainConfig()) == key_of(bars.copy(), TrainConfig())


@pytest.mark.parametrize(
    "change",
    [
        lambda bars: (bars.iloc[1:], TrainConfig()),
        lambda bars: (bars * 1.0000001, TrainConfig()),
        lambda bars: (bars, TrainConfig(seed=43)),
        lambda bars: (bars, replace(TrainConfig(), threads=2)),
        lambda bars: (bars, Costs()),
        lambda bars: (bars, TrainConfig(), Costs()),
    ],
)
def test_whatever_decides_a_result_changes_the_key(bars, change):
    changed, *settings = change(bars)
    assert key_of(changed, *settings) != key_of(bars, TrainConfig())


def test_the_instrument_s_name_is_part_of_the_key(bars):
    named = bars.copy()
    named.attrs["instrument"] = "another"
    assert key_of(named) != key_of(bars)


def test_what_the_bars_say_against_themselves_is_part_of_the_key(bars):
    flagged = bars.copy()
    flagged.attrs["flags"] = [
        FlagRecord(name="gaps", sentence="Opens lie.", identity=True, accepted=True)
    ]
    assert key_of(flagged) != key_of(bars)
