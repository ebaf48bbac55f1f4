"""Live, without a broker's account: a feed that fills in history, then reports LIVE.

python strategy_plugin/examples/live_feed.py
"""

import backtrader as bt

from model import TrainConfig, fit, sample_bars
from strategy_plugin import BiLSTMStrategy, EquityShare, replay

bars = sample_bars()[-1200:]
fit(bars[:900], TrainConfig(max_epochs=1)).save("example.ckpt")


class LiveLike(bt.feeds.PandasData):
    """Delivers bars one by one and reports LIVE after the first `history` of them, like a store."""

    params = (("history", 950),)

    def start(self):
        super().start()
        self.put_notification(self.DELAYED)

    def islive(self):
        return True  # Backtrader then loads no bar in advance

    def haslivedata(self):
        return len(self) >= self.p.history

    def _load(self):
        if len(self) == self.p.history:
            self.put_notification(self.LIVE)  # from here on orders may be sent
        return super()._load()


cerebro = bt.Cerebro()
cerebro.adddata(LiveLike(dataname=bars))
cerebro.addstrategy(BiLSTMStrategy, checkpoint="example.ckpt", journal="decisions.jsonl")
cerebro.addsizer(EquityShare, fractional=False)  # whole units, as most brokers take them
cerebro.addanalyzer(bt.analyzers.Transactions, _name="fills")
cerebro.broker.setcash(100_000)
[strategy] = cerebro.run()

first_fill = min(strategy.analyzers.fills.get_analysis(), default=None)
print(f"equity {cerebro.broker.getvalue():,.2f}, first fill {first_fill}")
decisions, differences = replay("decisions.jsonl")  # makes every decision again from the journal
print(f"{decisions} decisions made again, {len(differences)} differences")
