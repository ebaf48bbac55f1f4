"""Files and results of earlier days.

A checkpoint of each released format forecasts what it did, and five markets trade as they did.

A number here changes only where the change is wanted and said in the commit.
"""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from backtests.simulation.account import Account, Costs
from backtests.simulation.broker import Simulation, simulate
from backtests.synthetic.markets import market
from model.checkpoint.checkpoint import Checkpoint
from model.checkpoint.record import FORMAT
from model.checkpoint.schedule import require_golden
from model.features.registry import own_features

GOLDEN = Path(__file__).parent / "golden"
DIGESTS = {
    "format-2": "3114f308a7a312702d0e3d41ea60e911e7e62496ba7111db6daccda9e281c219",
    "format-3": "6744c4c7db67cc752b269e9e7f27f183e021a9d5eca1047bd7a150b934540c46",
    "format-4": "02db30ba12d6b3b78304894de6298e3829bbbd64d9cd407e7b81268f66a20c90",
    "format-5": "a1015f63b40b3587e6b7b791c4d90e3bbfce1ede4ce2a91704ab634befddc750",
    "format-6": "7def93b43835e3410b13c6bd5c96f7e8a17b7e164c6c454c112f9106266e7b5e",
}


def features_of(checkpoint: Checkpoint) -> np.ndarray:
    """The feature rows of the golden window."""
    assert checkpoint.golden is not None
    stamps = np.array(checkpoint.golden.stamps).view("datetime64[ns]")
    return checkpoint.engineer.rows(np.array(checkpoint.golden.bars), stamps)


@pytest.fixture(scope="module", autouse=True)
def spread() -> None:
    """The feature of a user's own that the file of format 5 was trained with."""
    own_features(f"{GOLDEN / 'spread.py'}:Spread")


def test_every_format_that_is_read_has_its_file() -> None:
    assert (
        sorted(path.stem for path in GOLDEN.glob("*.ckpt")) == sorted(DIGESTS)
        and f"format-{FORMAT}" in DIGESTS
    )


@pytest.mark.parametrize("name", DIGESTS)
def test_a_file_of_each_format_loads_and_forecasts_what_it_did(name: str) -> None:
    checkpoint = Checkpoint.load(GOLDEN / f"{name}.ckpt")
    assert checkpoint.digest == DIGESTS[name]
    forecast = checkpoint.forecast(features_of(checkpoint))
    expected = FORECASTS.get(name, FORECAST)
    assert [float(values[0]) for values in forecast] == pytest.approx(expected, abs=1e-6)
    require_golden(checkpoint, name)


def test_what_each_format_knows_of_its_bars() -> None:
    oldest, older, newest = (
        Checkpoint.load(GOLDEN / f"format-{number}.ckpt") for number in (2, 3, 4)
    )
    assert oldest.hours is None and oldest.flags is None
    for one in (older, newest):
        assert one.hours == (1 / 24,) * 24 and one.flags[0]["name"] == "gaps"
    assert (older.outcome, older.instruments) == ("direction", None)
    assert (newest.outcome, list(newest.instruments)) == ("relative", ["gold", "silver"])


def test_the_features_of_ones_own_that_format_5_knows() -> None:
    older, newest = (Checkpoint.load(GOLDEN / f"format-{number}.ckpt") for number in (4, 5))
    assert older.features == () and not older.only
    [spread] = newest.features
    assert str(spread) == "spread(bars=12, power=0.5)" and spread.lookback == 12
    assert newest.layout.names[86:] == ("span", "span_by_volume")


def test_the_other_series_that_format_6_knows() -> None:
    older, newest = (Checkpoint.load(GOLDEN / f"format-{number}.ckpt") for number in (5, 6))
    assert older.context is None
    silver, slower = newest.context.series
    assert silver.names == ("silver:ret_z_5", "silver:vol_ratio_5_20")
    assert (silver.clock.zone, silver.clock.closes) == ("America/New_York", "16:00")
    assert (slower.title, newest.context.max_age) == ("self:4h", 3.0)
    assert newest.layout.names[86:] == newest.context.names


# Probability, disagreement and out_of_range of the golden window.
FORECASTS = {
    "format-5": [0.6613807502734206, 0.13701036167585967, 0.0175],
    "format-6": [0.7062451637206415, 0.011199240724784731, 0.0],
}
FORECAST = [0.8059996469244901, 0.055871473415378514, 0.008372093023255813]
RUNS: dict[str, tuple[str, dict[str, float]]] = {
    "regime": (
        "1459abecdd52741b0cf54c369a6697c399cad77d26023b7f78f9a9ab1aa4e709",
        {
            "final": 88051.386209,
            "lowest": 88051.386209,
            "trades": 56.0,
            "in market": 0.889091,
            "won": 0.535714,
        },
    ),
    "volrev": (
        "104d4e27b7af1744d4acae54567520eb50f49a3e04f46a6b94ebca8954109638",
        {
            "final": 96807.935564,
            "lowest": 95440.674656,
            "trades": 46.0,
            "in market": 0.850909,
            "won": 0.521739,
        },
    ),
    "echo": (
        "c2ff30e45362491550aaca90697453abd88a295436d12cd68f473ec7fef83de5",
        {
            "final": 96384.979443,
            "lowest": 94608.021333,
            "trades": 55.0,
            "in market": 0.901818,
            "won": 0.527273,
        },
    ),
    "latch": (
        "805849cbbff3b1577d19752592a1f5f81d55f1d1bf06aa0a021cee52e8d9e5bb",
        {
            "final": 96124.805661,
            "lowest": 93999.640012,
            "trades": 44.0,
            "in market": 0.923636,
            "won": 0.568182,
        },
    ),
    "walk": (
        "1fbf6d64dab8a95426072fde15a16e92973d23d8b13812cae6f90c850c656981",
        {
            "final": 90983.610257,
            "lowest": 90833.922743,
            "trades": 39.0,
            "in market": 0.912727,
            "won": 0.435897,
        },
    ),
}


def statistics(run: Simulation) -> dict[str, float]:
    equity = run.equity.to_numpy()
    return {
        "final": equity[-1],
        "lowest": equity.min(),
        "trades": len(run.trades),
        "in market": float((run.position != 0).mean()),
        "won": float((run.trades["net"] > 0).mean()) if len(run.trades) else 0.0,
    }


def orders_digest(run: Simulation) -> str:
    """The SHA-256 of the list of fills, as they would be written."""
    rows = [f"{fill.filled_at} {fill.size:.6g} {fill.price:.8g}" for fill in run.fills.itertuples()]
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def traded(name: str) -> Simulation:
    bars: pd.DataFrame = market(name, 700).bars
    return simulate(
        bars,
        GOLDEN / "format-2.ckpt",
        150,
        account=Account(allow_short=True, enter=0.55, exit=0.5),
        costs=Costs(),
    )


# One model for all of them, whatever it was trained on.
@pytest.mark.filterwarnings("ignore:.*its model was trained on")
@pytest.mark.parametrize("name", RUNS)
def test_five_markets_are_traded_as_they_were(name: str) -> None:
    run, (digest, figures) = traded(name), RUNS[name]
    assert statistics(run) == pytest.approx(figures, rel=1e-6, abs=1e-6)
    assert orders_digest(run) == digest
