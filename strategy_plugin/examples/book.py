"""A book: one network for a universe, its best names long and its worst short, in one account.

python strategy_plugin/examples/book.py
"""

import backtrader as bt

from backtests.synthetic.markets import market
from model import TrainConfig, fit
from strategy_plugin import BookStrategy, SettlingBroker

# Planted markets of one law; of your own: {name: read_bars(f"{name}.csv") for name in ...}
BARS = {f"volrev{seed}": market("volrev", n_bars=500, seed=seed).bars for seed in range(10)}
BARS["volrev3"] = BARS["volrev3"][:450]  # one that is delisted

# One epoch is a demonstration.
learnt = fit({name: bars[:350] for name, bars in BARS.items()}, TrainConfig(max_epochs=1))
learnt.save("universe.ckpt")

cerebro = bt.Cerebro()
cerebro.broker = SettlingBroker(cash=100_000)  # settles what has no bars any more
for name, bars in BARS.items():
    cerebro.adddata(bt.feeds.PandasData(dataname=bars), name=name)
    # One basis point a side, and 2 % a year for what is borrowed to sell it short.
    cerebro.broker.setcommission(commission=0.0001, interest=0.02, name=name)
cerebro.addstrategy(
    BookStrategy, checkpoint="universe.ckpt", long=3, short=3, keep=2.0, delisting_loss=0.3
)
cerebro.addanalyzer(bt.analyzers.Transactions, _name="fills")
cerebro.addanalyzer(bt.analyzers.DrawDown, _name="drawdown")
[strategy] = cerebro.run()

fills = [fill for day in strategy.analyzers.fills.get_analysis().values() for fill in day]
print(f"equity {cerebro.broker.getvalue():,.2f}")
print(f"largest drawdown {strategy.analyzers.drawdown.get_analysis().max.drawdown:.1f} %")
print(f"dates ranked {strategy.n_ranked}, fills {len(fills)}")
print(f"volrev3 {dict(strategy.refusals()['volrev3'])}")
