"""The host's plot: our line draws, without a screen, as the README shows."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

PLOT = """
import sys
import backtrader as bt
import backtrader.plot  # sets a backend that needs a screen
import matplotlib
matplotlib.use("Agg")
import pandas as pd
from strategy_plugin import BiLSTMStrategy, SignalQuality

cerebro = bt.Cerebro()
cerebro.adddata(bt.feeds.PandasData(dataname=pd.read_parquet(sys.argv[1]), name="data"))
cerebro.addstrategy(BiLSTMStrategy, checkpoint=sys.argv[2], stop_loss="2atr", enter=0.5, exit=0.5)
cerebro.run()
figure = cerebro.plot(iplot=False)[0][0]
figure.savefig(sys.argv[3])
lines = {line.get_label(): line for axes in figure.axes for line in axes.lines}
probability, = (line for label, line in lines.items() if "probability" in label or "P(up)" in label)
print(sum(value == value for value in probability.get_ydata()), probability.get_color())
"""


@pytest.mark.filterwarnings("default")
def test_the_probability_draws_without_a_screen(
    bars: pd.DataFrame, checkpoint_path: str, tmp_path: Path
) -> None:
    bars.to_parquet(tmp_path / "bars.parquet")
    command = [
        sys.executable,
        "-c",
        PLOT,
        str(tmp_path / "bars.parquet"),
        checkpoint_path,
        str(tmp_path / "plot.png"),
    ]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.stdout.split() == ["251", "tab:purple"], run.stderr
    assert (tmp_path / "plot.png").stat().st_size > 20_000
