"""Several instruments in one account: a model for each, one cap on all positions together.

python strategy_plugin/examples/several_instruments.py
"""

from pathlib import Path

import backtrader as bt

from backtests.synthetic.markets import market
from model import TrainConfig, fit
from strategy_plugin import BiLSTMStrategy, EquityShare

# Planted markets; of your own: {name: read_bars(f"{name}.csv") for name in ...}
BARS = {f"echo{seed}": market("echo", n_bars=900, seed=seed).bars for seed in (1, 2, 3)}

Path("models").mkdir(exist_ok=True)
for name, bars in BARS.items():
    fit(bars[:700], TrainConfig(max_epochs=1)).save(f"models/{name}.ckpt")

cerebro = bt.Cerebro()
for name, bars in BARS.items():
    cerebro.adddata(bt.feeds.PandasData(dataname=bars), name=name)
# `{name}` stands for the name of each data. Closes go before openings, for their cash.
cerebro.addstrategy(
    BiLSTMStrategy, checkpoint="models/{name}.ckpt", enter=0.52, exit=0.50, max_exposure=0.9
)
cerebro.addsizer(EquityShare, share=0.9)  # of the account, a third of it for each position
cerebro.addanalyzer(bt.analyzers.Transactions, _name="fills")
cerebro.broker.setcash(100_000)
[strategy] = cerebro.run()

fills = [fill for day in strategy.analyzers.fills.get_analysis().values() for fill in day]
print(f"equity {cerebro.broker.getvalue():,.2f}")
for name in BARS:
    print(name, "fills", sum(fill[3] == name for fill in fills))
print(f"refused {strategy.refusals()}")
