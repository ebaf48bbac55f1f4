"""The command that examines a file of bars.

What it is, what looks wrong in it, and whether it can be trained on.

python -m model.doctor FILE
"""

from dataclasses import replace
from typing import Annotated

import numpy as np
import pandas as pd
from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

from model.bars.faults import count, day
from model.bars.intervals import session_bars, spoken, yearly_bars
from model.bars.read import bar_interval, digest_bars
from model.bars.suspicions import find_splits, flat_stretches
from model.cli import VERSION, BarsOptions, run
from model.features.table import LOOKBACK
from model.training.config import TrainConfig
from model.training.data import Part, TrainingData, prepare
from model.training.windows import SMALLEST_SCALE

SHORTEST_STRETCH = 5
N_LARGEST = 3

app = App(
    version=VERSION,
    name="model.doctor",
    help="Examine a file of bars: what it is, what looks wrong, whether it can be trained on.",
)
console = Console(highlight=False, soft_wrap=True)

Facts = list[tuple[str, str]]


@app.default
def doctor(
    bars_options: Annotated[BarsOptions, Parameter(name="*")] = BarsOptions(),
    *,
    config: Annotated[TrainConfig, Parameter(name="*")] = TrainConfig(),
) -> None:
    """Examine a file of bars: what it is, what looks wrong, whether it can be trained on.

    0 usable, 3 refused.
    """
    bars = bars_options.read(minimum_bars=None)
    # One bar has no interval to describe.
    if len(bars) > 1:
        console.print(_table("the file", describe_file(bars)))
        console.print(_table("what to look at", describe_doubts(bars)))
    # Prepared like a training: what would stop that stops here, before hours are spent.
    settings, data = trainable(bars, config)
    asked = (
        "the settings asked for" if settings == config else f"--batch-size {settings.batch_size}"
    )
    console.print(_table(f"training with {asked}", describe_training(data)))


def trainable(bars: pd.DataFrame, config: TrainConfig) -> tuple[TrainConfig, TrainingData]:
    """Return what training would start from.

    The batch is smaller where the bars are too few for the one asked for.
    """
    preprocessor = config.preprocessor
    fitting = [
        size
        for size in (config.batch_size, 32, 16, 8)
        if preprocessor.bars_needed(size) <= len(bars)
    ]
    settings = replace(config, batch_size=fitting[0]) if fitting else config
    return settings, prepare(bars, settings)


def describe_file(bars: pd.DataFrame) -> Facts:
    """Return what the file is: its market's time, as far as the stamps tell, and its digest."""
    index = pd.DatetimeIndex(bars.index)
    interval, attrs = bar_interval(index), bars.attrs
    return [
        ("instrument", attrs.get("instrument") or "not stated"),
        ("rows", f"{len(bars)}"),
        ("span", f"{day(index[0])} to {day(index[-1])}, {spoken(index[-1] - index[0])}"),
        ("bar interval", spoken(interval)),
        ("bars in a usual session", f"{session_bars(index):g}"),
        ("bars per year", f"{yearly_bars(bars):g}"),
        (
            "time zone, stamp",
            f"{attrs.get('timezone') or 'not stated'}, a bar's {attrs.get('stamp')}",
        ),
        ("prices", f"{bars['low'].min():.10g} to {bars['high'].max():.10g}"),
        ("sha256", digest_bars(bars)),
    ]


def describe_doubts(bars: pd.DataFrame) -> Facts:
    """Return what may be wrong although it breaks no rule."""
    # Where most opens repeat a close, the file has no opens of its own, and fills are fictions.
    stale = (bars["open"].to_numpy()[1:] == bars["close"].to_numpy()[:-1]).mean()
    splits = [
        f"{split.ratio:g}:1 at {day(bars.index[split.position])}" for split in find_splits(bars)
    ]
    moves = bars["close"].pct_change().dropna()
    strongest = moves.loc[moves.abs().nlargest(N_LARGEST).index]
    largest = ", ".join(f"{move:+.1%} at {day(stamp)}" for stamp, move in strongest.items())
    return [
        ("gaps", _gaps(pd.DatetimeIndex(bars.index))),
        ("volume 0", count(int((bars["volume"] == 0).sum()), "bar")),
        ("opens equal to the close before", f"{stale:.1%}"),
        (f"stretches of {SHORTEST_STRETCH} bars and more without a move", _stretches(bars)),
        ("splits suspected", ", ".join(splits[:N_LARGEST]) or "none"),
        ("largest moves from close to close", largest),
    ]


def _stretches(bars: pd.DataFrame) -> str:
    stretches = flat_stretches(bars, shortest=SHORTEST_STRETCH)
    if not stretches:
        return "none"
    first, stop = max(stretches, key=lambda stretch: stretch[1] - stretch[0])
    return f"{len(stretches)}, the longest {stop - first} bars from {day(bars.index[first])}"


def _gaps(index: pd.DatetimeIndex) -> str:
    """Return the number of gaps beyond the usual rhythm.

    Longer than a long weekend, or than two bars of longer bars.
    """
    gaps = np.diff(index.to_numpy())
    # A long weekend has three closed days.
    usual = max(pd.Timedelta(days=4), 2 * bar_interval(index))
    long = gaps > usual.to_timedelta64()
    at = int(gaps.argmax())
    longest = spoken(pd.Timedelta(gaps[at]))
    return (
        f"{int(long.sum())} longer than {spoken(usual)}; the longest {longest}, "
        f"from {day(index[at])} to {day(index[at + 1])}"
    )


def describe_training(data: TrainingData) -> Facts:
    """Return how many windows each part would have, and how many of them go up.

    The features that carry nothing are named too.
    """
    # The features begin where the longest look back is full: bars before that only warm up.
    settings, n_bars = data.config, len(data.features) + LOOKBACK - 1
    needed = settings.preprocessor.bars_needed(settings.batch_size)
    facts = [
        (
            "bars",
            f"{n_bars}; {needed} are needed: {LOOKBACK - 1} to warm up, {settings.sequence_length} "
            "for a window, "
            f"{settings.batch_size} windows in the training part",
        )
    ]
    facts += [(f"{name} part", _part(part)) for name, part in data.parts.items() if len(part)]
    # Such a feature is masked by the scaler: it cannot help, and often shows a column misread.
    deviation = data.features.std()
    constant = [str(name) for name in data.features.columns[deviation < SMALLEST_SCALE]]
    return [
        *facts,
        ("constant features", f"{len(constant)}: {', '.join(constant)}" if constant else "none"),
    ]


def _part(part: Part) -> str:
    return (
        f"{len(part)} windows from {day(part.timestamps[0])}, {part.labels.mean():.1%} of them up"
    )


def _table(title: str, facts: Facts) -> Table:
    table = Table(show_header=False, title=title, title_justify="left")
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, value)
    return table


if __name__ == "__main__":
    run(app)
