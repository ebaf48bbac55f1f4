"""One control: train on a market whose best forecast is known, and tell how much was found.

A row is kept in a file named by all that decides it, so that a run which was stopped goes on.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path

import numpy as np
import pandas as pd

from backtests.evidence.baselines import Examples, baseline_probabilities, examples_of
from backtests.evidence.calibration import reliability
from backtests.simulation.vectorised import Array
from backtests.synthetic.markets import Market, market, parse_market
from model.checkpoint.checkpoint import Checkpoint
from model.files import write_atomically
from model.labels.moves import MOVES
from model.metrics import auc, auc_standard_error, classification_scores
from model.provenance import code_digest, machine
from model.training.config import TrainConfig
from model.training.fitting import fit

Row = dict[str, object]

SCORES = ("auc", "log_loss", "accuracy", "balanced_accuracy", "mcc")
RESAMPLES = 300
BAND = (0.025, 0.975)
CODE = (
    "model",
    "backtests.synthetic",
    "backtests.evidence.baselines",
    "backtests.evidence.calibration",
)


@dataclass(frozen=True)
class Control:
    """A market, named as in `parse_market`, its seed, and how many of its bars are what.

    bars: to train, validate and test on. fresh: those after them, which training never sees.
    instruments: how many of its histories one network learns from, of a `pooled` control.
    """

    market: str
    seed: int
    bars: int
    fresh: int
    config: TrainConfig
    instruments: int = 1

    def __post_init__(self) -> None:
        faults = []
        if self.config.horizon != 1:
            faults.append(f"`horizon` must be 1, got {self.config.horizon}")
        if self.config.label not in MOVES:
            faults.append(f"`label` must be one of {', '.join(MOVES)}, got {self.config.label!r}")
        if faults:
            raise ValueError(
                f"{'; '.join(faults)}: the best forecast is known for the next bar's move only."
            )

    def sample(self) -> Market:
        """Return the bars to learn from and the fresh ones after them."""
        name, strengths = parse_market(self.market)
        return market(name, self.bars + self.fresh, self.seed, **strengths)

    @property
    def key(self) -> str:
        """What names the row: a digest of settings, code, libraries and processor."""
        # The code and the machine too: a row that others measured must not pass for this one's.
        decides = {**asdict(self), "code": code_digest(*CODE), "machine": machine()}
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


def measure(control: Control) -> Row:
    """Train on a control's market and score what came of it.

    The network, the baselines and the best possible forecast are judged on the same windows.
    """
    # The network never sees the fresh bars; baselines and best forecast are judged on them too.
    sample = control.sample()
    examples = examples_of(sample.bars, control.config, control.bars)
    checkpoint = fit(sample.bars.iloc[: control.bars], control.config)
    baselines: Row = {}
    for name, probability in baseline_probabilities(examples).items():
        # On the windows of the network, so that its share and theirs can be compared.
        scores = classification_scores(examples.judged.labels, probability)
        baselines |= {f"{name}_{score}": scores[score] for score in SCORES}
    return {
        "market": control.market,
        "seed": control.seed,
        "bars": control.bars,
        "fresh": control.fresh,
        **judged(examples, sample, checkpoint.predict(examples.raw_rows)),
        **training_figures(checkpoint),
        **baselines,
    }


def judged(examples: Examples, sample: Market, forecast: Array) -> Row:
    """Score probabilities of the windows to be judged, beside those of the best forecast."""
    labels, timestamps = examples.judged.labels, examples.judged.timestamps
    best = sample.probability.loc[timestamps].to_numpy()
    returns = next_returns(sample).loc[timestamps].to_numpy()
    scores, optimum = classification_scores(labels, forecast), classification_scores(labels, best)
    low, high = share_interval(labels, forecast, best)
    return {
        "windows": len(labels),
        "up_share": scores["up_share"],
        "base_rate": scores["base_rate"],
        "standard_error": auc_standard_error(labels),
        **{f"optimum_{name}": optimum[name] for name in ("auc", "log_loss", "accuracy")},
        "optimum_sharpe": gross_sharpe(best, returns),
        **{name: scores[name] for name in SCORES},
        "sharpe": gross_sharpe(forecast, returns),
        "share": share(labels, forecast, best),
        "share_low": low,
        "share_high": high,
        "mean_probability": float(forecast.mean()),
        **_calibration(labels, forecast),
    }


def training_figures(checkpoint: Checkpoint) -> Row:
    """Return what training knew.

    By the validation figures settings may be chosen, by the scores of a row they may not.
    """
    members, metrics = checkpoint.members, checkpoint.metrics
    return {
        "temperature": float(np.mean([member.temperature for member in members])),
        "epochs": sum(len(member.history) for member in members),
        "validation_log_loss": metrics["validation_log_loss"],
        "validation_logistic_log_loss": metrics["validation_logistic_log_loss"],
    }


def _calibration(labels: Array, forecast: Array) -> Row:
    found = reliability(labels, forecast)
    return {
        "calibration_error": found.error,
        "calibration_error_by_chance": found.error_by_chance,
        "calibration_error_limit": found.error_limit,
        "bins_outside": found.outside,
        "reliability": [asdict(bin) for bin in found.bins],
    }


def next_returns(sample: Market) -> pd.Series:
    """Return what a position opened at the next open earns by that bar's close.

    It stands on the timestamp of the decision.
    """
    return (sample.bars["close"] / sample.bars["open"] - 1).shift(-1)


def gross_sharpe(forecast: Array, returns: Array) -> float | None:
    """Return mean over deviation, per bar and before costs, of going with every forecast.

    None where none says anything.
    """
    # With every forecast, however slight: thresholds would be one more thing to be chosen.
    earned = np.sign(forecast - 0.5) * returns
    return float(earned.mean() / earned.std()) if earned.any() else None


def share(labels: Array, forecast: Array, best: Array) -> float | None:
    """Return the share of the attainable edge, (AUC - .5) / (best AUC - .5).

    None where nothing is attainable.
    """
    found, attainable = auc(labels, forecast), auc(labels, best)
    # A best forecast that never changes its mind knows nothing.
    if np.ptp(best) == 0 or found is None or attainable is None:
        return None
    return (found - 0.5) / (attainable - 0.5)


def share_interval(
    labels: Array, forecast: Array, best: Array
) -> tuple[float | None, float | None]:
    """Return the 95 % interval of the share, by a bootstrap of the windows.

    Both forecasts are judged on the same draws.
    """
    if np.ptp(best) == 0:
        return None, None
    # A fixed seed: the same run gives the same row.
    random = np.random.default_rng(0)
    draws = (random.integers(0, len(labels), len(labels)) for _ in range(RESAMPLES))
    low, high = np.quantile(
        [share(labels[draw], forecast[draw], best[draw]) for draw in draws], BAND
    )
    return float(low), float(high)


class Store:
    """The rows of a folder, a file each, written in one step: any number of runs may share it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "rows"

    def path(self, control: Control) -> Path:
        return self.folder / f"{control.key}.json"

    def load(self, control: Control) -> Row | None:
        """Return the row where it was measured before with the same code and settings."""
        path = self.path(control)
        row: Row | None = json.loads(path.read_bytes()) if path.exists() else None
        return row

    def save(self, control: Control, row: Row) -> None:
        write_atomically(self.path(control), as_json(row))


def write_table(folder: Path, rows: Sequence[Row]) -> None:
    """Write controls.json, and controls.csv without the reliability bins."""
    write_atomically(folder / "controls.json", as_json(rows))
    # Rows of pooled controls have none.
    flat = pd.DataFrame(rows).drop(columns="reliability", errors="ignore")
    write_atomically(folder / "controls.csv", flat.to_csv(index=False).encode())


def as_json(value: object) -> bytes:
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()


def silence(
    rows: Iterable[Row], forecasters: Sequence[str] = ("", "logistic_", "boosting_", "ridge_")
) -> pd.DataFrame:
    """Judge whether forecasts of markets without an edge show none.

    One row per market and forecaster.

    On such a market labels are independent of every forecast, so each row's standard error of an
    AUC of one half is exact where no two probabilities are equal. surprise: the mean AUC's distance
    from .5 in standard errors; beyond_two: how many of the seeds are themselves more than two of
    theirs away.
    """
    frame = pd.DataFrame(list(rows))
    return pd.DataFrame(
        [
            _silent(name, part, forecaster)
            for name, part in frame.groupby("market", sort=False)
            for forecaster in forecasters
        ]
    )


def _silent(name: object, rows: pd.DataFrame, forecaster: str) -> Row:
    # In units of each seed's own error, for windows differ in number.
    away = (rows[f"{forecaster}auc"] - 0.5) / rows["standard_error"]
    means = {
        score: float(rows[f"{forecaster}{score}"].mean())
        for score in ("auc", "balanced_accuracy", "mcc", "accuracy")
    }
    # Seeds are independent histories: the variances of their AUCs add.
    error = sqrt(float((rows["standard_error"] ** 2).sum())) / len(rows)
    return {
        "market": name,
        "forecaster": forecaster.rstrip("_") or "network",
        "seeds": len(rows),
        **means,
        "base_rate": float(rows["base_rate"].mean()),
        "standard_error": error,
        "surprise": (means["auc"] - 0.5) / error,
        "beyond_two": int((away.abs() > 2).sum()),
    }
