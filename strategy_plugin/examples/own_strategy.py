"""A strategy of your own: the model's probability as an indicator, beside a weekly trend.

python strategy_plugin/examples/own_strategy.py
"""

import backtrader as bt

from model import TrainConfig, fit, sample_bars
from strategy_plugin import DirectionProbability

bars = sample_bars()[-1200:]
checkpoint = fit(bars[:900], TrainConfig(max_epochs=1))
checkpoint.save("example.ckpt")


class TrendAndModel(bt.Strategy):
    """Long while the model says "up" and the weekly close lies above its average."""

    params = (("enter", 0.50), ("exit", 0.49), ("weeks", 10))

    def __init__(self):
        days, weeks = self.datas
        self.probability = DirectionProbability(days, checkpoint="example.ckpt")
        self.trend = weeks.close - bt.indicators.SMA(weeks.close, period=self.p.weeks)

    def next(self):
        # There are probabilities at bars that the model has seen too, and they prove nothing. Of
        # the bar `trained_until` training used the open alone: its close is the first fair one.
        if self.data.datetime.datetime() < checkpoint.trained_until:
            return
        if not self.position and self.probability[0] > self.p.enter and self.trend[0] > 0:
            self.order_target_percent(target=0.95)  # filled at the next open, as the model learnt
        elif self.position and (self.probability[0] < self.p.exit or self.trend[0] < 0):
            self.close()


cerebro = bt.Cerebro()
daily = bt.feeds.PandasData(dataname=bars)
cerebro.adddata(daily)
cerebro.resampledata(daily, timeframe=bt.TimeFrame.Weeks)  # a week is known when it is over
cerebro.addstrategy(TrendAndModel)
cerebro.addanalyzer(bt.analyzers.TradeAnalyzer, _name="trades")
cerebro.broker.setcash(100_000)
[strategy] = cerebro.run()

print(f"equity {cerebro.broker.getvalue():,.2f}")
print(f"trades {strategy.analyzers.trades.get_analysis().total.total}")
