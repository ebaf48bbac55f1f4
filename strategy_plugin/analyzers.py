"""What the traded probabilities were worth, beside every refusal, as a Backtrader analyzer."""

import backtrader as bt
import numpy as np
import pandas as pd

from model.labels.labelling import Labelling
from model.metrics import auc, brier, calibration, hit_rate
from strategy_plugin.decision import IN_SAMPLE, RESTING
from strategy_plugin.feeds import bar_of
from strategy_plugin.instrument import TradedData


class SignalQuality(bt.Analyzer):  # type: ignore[misc]
    """Quality of the probabilities that a strategy decided on, against what the market then did.

    Params:
      - label, horizon: what counts as a rise, "open" or "close" and bars; "" and 0 take what the
        checkpoint was trained on ("open" and 1 without one)

    Methods:
      - get_analysis: by data's name a dict of decisions (whose outcome is known), up_share,
        hit_rate (of the bars with a position wanted), auc, brier, calibration (groups of
        probability, frequency, bars), in_sample (decisions on bars that the model had seen) and
        refused (counts by reason); a figure that is undefined is None

    Example::

        cerebro.addstrategy(BiLSTMStrategy, checkpoint="nasdaq.ckpt")
        cerebro.addanalyzer(SignalQuality, _name="quality")
        print(cerebro.run()[0].analyzers.quality.get_analysis())
    """  # noqa: D406, D407

    params = (("label", ""), ("horizon", 0))

    def start(self) -> None:
        traded = getattr(self.strategy, "traded", [])
        if not traded or not all(isinstance(one, TradedData) for one in traded):
            raise TypeError(
                "SignalQuality must analyze a BiLSTMStrategy, got "
                f"{type(self.strategy).__name__}. Add it beside one."
            )
        self._records = [_Decisions(one, self.p.label, self.p.horizon) for one in traded]

    def next(self) -> None:
        for record in self._records:
            record.take()

    def stop(self) -> None:
        self.rets = {record.instrument.name: record.figures() for record in self._records}
        self._records = []  # results travel between processes; the run does not

    def get_analysis(self) -> dict[str, dict[str, object]]:
        return dict(self.rets)


class _Decisions:
    """The bars of one instrument and what was decided on them."""

    def __init__(self, instrument: TradedData, label: str, horizon: int) -> None:
        indicator = instrument.signal.indicator
        own = Labelling() if indicator is None else indicator.schedule.checkpoints[0].labelling
        self.instrument = instrument
        self._labelling = own
        if own.own is not None and not label:
            raise ValueError(
                f"`label` must be given to SignalQuality: the model forecasts {own}, which only "
                "training and the walk-forward can make. Give label='open'."
            )
        if label or horizon:
            self._labelling = Labelling(label or own.label, horizon or own.horizon)
        self._rows: list[tuple[float, ...]] = []
        self._number = 0

    def take(self) -> None:
        decision, data, ago = self.instrument.decision, self.instrument.data, self.instrument.ago
        if decision.number == self._number:
            return  # Backtrader calls again when another feed moves
        self._number = decision.number
        reading = decision.reading
        probability = np.nan if decision.reason in (*RESTING, IN_SAMPLE) else reading.probability
        prices = bar_of(data, ago)[:4]
        self._rows.append((*prices, probability, decision.wanted, reading.in_sample))

    def figures(self) -> dict[str, object]:
        columns = ["open", "high", "low", "close", "probability", "wanted", "in_sample"]
        rows = pd.DataFrame(self._rows, columns=columns, dtype=float)
        rows["label"] = self._labelling.labels(rows).values
        known = rows[np.isfinite(rows["label"]) & np.isfinite(rows["probability"])]
        labels, probabilities = known["label"].to_numpy(), known["probability"].to_numpy()
        refused = sorted(self.instrument.counts().items())
        return {
            "decisions": len(labels),
            "up_share": float(labels.mean()) if len(labels) else None,
            "hit_rate": hit_rate(labels, known["wanted"].to_numpy()),
            "auc": auc(labels, probabilities),
            "brier": brier(labels, probabilities),
            "calibration": calibration(labels, probabilities),
            "in_sample": int(known["in_sample"].sum()),
            "refused": {reason: count for reason, count in refused if count},
        }
