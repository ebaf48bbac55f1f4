"""What the traded probabilities were worth, beside every refusal, as a Backtrader analyzer."""

from typing import Any

import backtrader as bt
import numpy as np
import pandas as pd

from model.labels import check_label, make_labels
from strategy_plugin.decision import IN_SAMPLE, NOT_LIVE
from strategy_plugin.instrument import Lane
from strategy_plugin.quality import auc, brier, calibration, hit_rate


class SignalQuality(bt.Analyzer):  # type: ignore[misc]
    """Quality of the probabilities that a BiLSTMStrategy decided on, against what the market then did.

    Params:
      - label, horizon: what counts as a rise; "" and 0 take those of the checkpoint ("open" and 1 without one)

    Methods:
      - get_analysis: by data's name a dict of decisions (whose outcome is known), up_share, hit_rate (of the bars with a
        position wanted), auc, brier, calibration (groups of probability, frequency, bars), in_sample (decisions on bars
        that the model had seen) and refused (counts by reason); a figure that is undefined is None
    """

    params = (("label", ""), ("horizon", 0))

    def start(self) -> None:
        lanes = getattr(self.strategy, "lanes", None)
        if lanes is None:
            raise TypeError(
                f"SignalQuality must analyze a BiLSTMStrategy, got {type(self.strategy).__name__}. Add it beside one."
            )
        self._records = [_Record(lane, self.p.label, self.p.horizon) for lane in lanes]

    def next(self) -> None:
        for record in self._records:
            record.take()

    def stop(self) -> None:
        self.rets = {record.lane.name: record.figures() for record in self._records}
        self._records = []  # results travel between processes; the run does not

    def get_analysis(self) -> dict[str, Any]:
        return dict(self.rets)


class _Record:
    """The bars and decisions of one lane."""

    def __init__(self, lane: Lane, label: str, horizon: int) -> None:
        model = lane.indicator.schedule.checkpoints[0] if lane.indicator is not None else None
        self.lane = lane
        self._label = label or (model.label if model is not None else "open")
        self._horizon = horizon or (model.horizon if model is not None else 1)
        check_label(self._label, self._horizon)
        self._rows: list[tuple[float, float, float, float, float]] = []
        self._number = 0

    def take(self) -> None:
        """Remember a decision that is new."""
        lane, decision = self.lane, self.lane.decision
        if decision.number == self._number:
            return
        self._number = decision.number
        open, close = lane.data.open[lane.ago], lane.data.close[lane.ago]
        decided = (
            np.nan if decision.reason in (NOT_LIVE, IN_SAMPLE) else decision.reading.probability
        )
        self._rows.append((open, close, decided, decision.wanted, decision.reading.in_sample))

    def figures(self) -> dict[str, Any]:
        rows = pd.DataFrame(
            self._rows, columns=["open", "close", "probability", "wanted", "in_sample"], dtype=float
        )
        labels = (
            make_labels(rows, self._label, self._horizon).shift(-1).to_numpy()
        )  # at the decision
        probabilities, wanted, in_sample = (
            rows[name].to_numpy() for name in ("probability", "wanted", "in_sample")
        )
        known = np.isfinite(labels) & np.isfinite(probabilities)
        labels, probabilities = labels[known], probabilities[known]
        return {
            "decisions": len(labels),
            "up_share": float(labels.mean()) if len(labels) else None,
            "hit_rate": hit_rate(labels, wanted[known]),
            "auc": auc(labels, probabilities),
            "brier": brier(labels, probabilities),
            "calibration": calibration(labels, probabilities),
            "in_sample": int(in_sample[known].sum()),
            "refused": dict(
                sorted((reason, count) for reason, count in self.lane.counts().items() if count)
            ),
        }
