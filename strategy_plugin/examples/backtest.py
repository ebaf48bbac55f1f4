"""A backtest: train on the first bars, trade the rest, which the model has not seen.

python strategy_plugin/examples/backtest.py
"""

import backtrader as bt

from model import TrainConfig, fit, sample_bars
from strategy_plugin import BiLSTMStrategy, SignalQuality

bars = sample_bars()[-1200:]  # of your own: read_bars("bars.csv")

# One epoch is a demonstration. Left out, training goes on until validation stops improving.
checkpoint = fit(bars[:900], TrainConfig(max_epochs=1))
checkpoint.save("example.ckpt")
print(
    f"trained until {checkpoint.trained_until:%Y-%m-%d}, "
    f"test AUC {checkpoint.metrics['test_auc']:.3f}"
)

cerebro = bt.Cerebro()
cerebro.adddata(bt.feeds.PandasData(dataname=bars))
cerebro.addstrategy(BiLSTMStrategy, checkpoint="example.ckpt")
cerebro.addanalyzer(SignalQuality, _name="quality")
cerebro.addanalyzer(bt.analyzers.TradeAnalyzer, _name="trades")
cerebro.broker.setcash(100_000)
cerebro.broker.setcommission(commission=0.0001)  # of the value traded: one basis point a side
[strategy] = cerebro.run()

# Bars before `trained_until` were not traded: the model had seen them.
print(f"equity {cerebro.broker.getvalue():,.2f}")
print(f"trades {strategy.analyzers.trades.get_analysis().total.total}")
[quality] = strategy.analyzers.quality.get_analysis().values()  # one entry for each data
print(f"AUC of the traded probabilities {quality['auc']:.3f} over {quality['decisions']} decisions")
print(f"refused {strategy.refusals()}")
