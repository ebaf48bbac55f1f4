"""A parameter sweep: forecasts are computed once, then every pair of thresholds trades on them.

python strategy_plugin/examples/sweep.py
"""

from itertools import chain

import backtrader as bt

from model import TrainConfig, fit, sample_bars
from strategy_plugin import BiLSTMStrategy

if __name__ == "__main__":  # optstrategy starts processes, which import this file
    bars = sample_bars()[-1200:]
    fit(bars[:900], TrainConfig(max_epochs=1)).save("example.ckpt")

    cerebro = bt.Cerebro(optreturn=True)
    cerebro.adddata(bt.feeds.PandasData(dataname=bars))
    cerebro.optstrategy(
        BiLSTMStrategy, checkpoint="example.ckpt", enter=(0.500, 0.502, 0.504), exit=(0.500,)
    )
    cerebro.addanalyzer(bt.analyzers.Returns, _name="returns")
    cerebro.addanalyzer(bt.analyzers.DrawDown, _name="drawdown")
    cerebro.broker.setcash(100_000)

    # The best of many pairs looks better than it is: choose on bars that you do not judge by.
    # A pair whose exit lies above its enter is passed over with a warning: its list is empty.
    for run in chain.from_iterable(cerebro.run(maxcpus=2)):
        earned = run.analyzers.returns.get_analysis()["rtot"]
        deepest = run.analyzers.drawdown.get_analysis().max.drawdown
        print(
            f"enter {run.p.enter:.3f}  exit {run.p.exit:.3f}  "
            f"log return {earned:+.3f}  drawdown {deepest:.1f} %"
        )
