"""Once a day from a file: after the close, decide on the newest bar and send its order alone.

python strategy_plugin/examples/once_a_day.py
"""

import logging
import sys

import backtrader as bt

from model import TrainConfig, fit, sample_bars
from strategy_plugin import BiLSTMStrategy, EquityShare

# Of your own: read_bars("nvda.csv"), which a download keeps up to date.
bars = sample_bars()[-1200:]
fit(bars[:900], TrainConfig(max_epochs=1)).save("example.ckpt")

logging.basicConfig(stream=sys.stdout, format="%(message)s")
logging.getLogger("strategy_plugin").setLevel(logging.INFO)  # a line for each decision and order

cerebro = bt.Cerebro()
cerebro.adddata(bt.feeds.PandasData(dataname=bars))
# A broker of your own comes here, cerebro.setbroker(store.getbroker()): what it holds is held on.
cerebro.broker.setcash(100_000)
cerebro.addsizer(EquityShare, fractional=False)
# Bars before the newest one are the history of its forecast; without trade_from a real broker
# would get the orders of all of them.
newest = str(bars.index[-1])
cerebro.addstrategy(
    BiLSTMStrategy, checkpoint="example.ckpt", enter=0.5, exit=0.5, trade_from=newest
)
[strategy] = cerebro.run()
print(f"orders sent: {strategy.traded[0].orders.counts['sent']}")
