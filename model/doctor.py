"""The command that examines a file of bars: what it is, what looks wrong, whether it trains.

python -m model.doctor FILE | FOLDER [any field of TrainConfig]
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import numpy as np
import pandas as pd
from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

from model import training
from model.bars.artefacts import flags_of
from model.bars.faults import count
from model.bars.intervals import bar_interval, day, session_bars, spoken, yearly_bars
from model.bars.read import digest_bars
from model.bars.suspicions import find_splits, flat_stretches
from model.cli import (
    DATA,
    OK,
    TRAINING,
    VERSION,
    BarsOptions,
    bar_files,
    describe_bars,
    run,
    sources_of,
)
from model.errors import BarsError, as_flags
from model.training.config import TrainConfig
from model.training.preprocessor import SMALLEST_SCALE

if TYPE_CHECKING:
    from model.training.data import TrainingData

SHORTEST_STRETCH = 5
LONG_WEEKEND = pd.Timedelta(days=4)
N_LARGEST = 3
SMALLER_BATCHES = (32, 16, 8)

app = App(version=VERSION, name="model.doctor")
console = Console(highlight=False, soft_wrap=True)

Facts = list[tuple[str, str]]


@app.default
def doctor(
    bars_options: Annotated[BarsOptions, Parameter(name="*", group=DATA)] = BarsOptions(),
    *,
    config: Annotated[TrainConfig, Parameter(name="*", group=TRAINING)] = TrainConfig(),
) -> int:
    """Examine a file of bars: what it is, what looks wrong, whether it can be trained on.

    Of a folder every file is examined and gets a line; the exit code is that of the worst.
    """
    path = bars_options.data
    if path and path.is_dir():
        # The worst code, so that a script sees one bad file among hundreds.
        return max(examine(one, config) for one in sources_of(bars_options, bar_files([path])))
    bars = bars_options.read()
    if len(bars) > 1:
        _print("the file", describe_file(bars))
        _print("what to look at", describe_doubts(bars))
    settings, data = trainable(bars, config)
    asked = settings == config
    title = "the settings asked for" if asked else f"--batch-size {settings.batch_size}"
    _print(f"training with {title}", describe_training(data))
    return OK


def examine(source: BarsOptions, config: TrainConfig) -> int:
    """Print a line on a file of a folder; return the exit code that it would have by itself."""
    name = source.data.name if source.data else ""
    # Counted here: whoever wants to read them asks for the file alone.
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        try:
            bars = source.read()
            settings, data = trainable(bars, config)
        except BarsError as error:
            console.print(f"{name}: refused: {as_flags(error.args)}", markup=False)
            return error.exit_code
    smaller = "" if settings == config else f" with --batch-size {settings.batch_size}"
    trained = count(len(data.train), "window")
    console.print(
        f"{describe_bars(bars)}; {count(len(notes), 'note')}; {trained} to train on{smaller}",
        markup=False,
    )
    return OK


def trainable(bars: pd.DataFrame, config: TrainConfig) -> tuple[TrainConfig, TrainingData]:
    """Return what training would start from, with a smaller batch where the bars are too few.

    BarsError where they are too few for any.
    """
    # A smaller batch is the setting that helps without other bars.
    for size in (config.batch_size, *SMALLER_BATCHES):
        if config.preprocessor.bars_needed(size) <= len(bars):
            config = replace(config, batch_size=size)
            break
    return config, training.prepare(bars, config)


def describe_file(bars: pd.DataFrame) -> Facts:
    index, attrs = pd.DatetimeIndex(bars.index), bars.attrs
    zone = attrs.get("timezone") or "not stated"
    return [
        ("instrument", attrs.get("instrument") or "not stated"),
        ("rows", f"{len(bars)}"),
        ("span", f"{day(index[0])} to {day(index[-1])}, {spoken(index[-1] - index[0])}"),
        ("bar interval", spoken(bar_interval(index))),
        ("bars in a usual session", f"{session_bars(index):g}"),
        ("bars per year", f"{yearly_bars(bars):g}"),
        ("time zone, timestamp", f"{zone}, a bar's {attrs.get('stamp')}"),
        ("prices", f"{bars['low'].min():.10g} to {bars['high'].max():.10g}"),
        ("sha256", digest_bars(bars)),
    ]


def describe_doubts(bars: pd.DataFrame) -> Facts:
    stretches = flat_stretches(bars, shortest=SHORTEST_STRETCH)
    flat = "none"
    if stretches:
        first, stop = max(stretches, key=lambda stretch: stretch[1] - stretch[0])
        flat = f"{len(stretches)}, the longest {stop - first} bars from {day(bars.index[first])}"
    splits = [
        f"{split.ratio:g}:1 at {day(bars.index[split.position])}" for split in find_splits(bars)
    ]
    moves = bars["close"].pct_change().to_numpy()
    # Missing moves, that of the first bar, are the last in this order.
    strongest = np.argsort(-np.abs(moves), kind="stable")[: min(N_LARGEST, len(moves) - 1)]
    largest = ", ".join(f"{moves[at]:+.1%} at {day(bars.index[at])}" for at in strongest)
    # Opens that repeat the close before are made up, and an order filled there is too.
    stale = (bars["open"].to_numpy()[1:] == bars["close"].to_numpy()[:-1]).mean()
    return [
        ("gaps", _gaps(pd.DatetimeIndex(bars.index))),
        ("volume 0", count(int((bars["volume"] == 0).sum()), "bar")),
        ("opens equal to the close before", f"{stale:.1%}"),
        (f"stretches of {SHORTEST_STRETCH} bars and more without a move", flat),
        ("splits suspected", ", ".join(splits[:N_LARGEST]) or "none"),
        ("largest moves from close to close", largest),
        *((f"never traded? {flag['name']}", flag["sentence"]) for flag in flags_of(bars)),
    ]


def _gaps(index: pd.DatetimeIndex) -> str:
    """Return how many gaps are longer than a long weekend, or two bars where bars are longer."""
    gaps = np.diff(index.to_numpy())
    usual = max(LONG_WEEKEND, 2 * bar_interval(index))
    at = int(gaps.argmax())
    return (
        f"{int((gaps > usual.to_timedelta64()).sum())} longer than {spoken(usual)}; the longest "
        f"{spoken(pd.Timedelta(gaps[at]))}, from {day(index[at])} to {day(index[at + 1])}"
    )


def describe_training(data: TrainingData) -> Facts:
    """Return the windows that each part would have, and the features that carry nothing."""
    settings, warm_up = data.config, data.config.lookback - 1
    n_bars = len(data.features) + warm_up
    needed = settings.preprocessor.bars_needed(settings.batch_size)
    reason = (
        f"{warm_up} to warm up, {settings.sequence_length} for a window, "
        f"{count(settings.batch_size, 'window')} in the training part"
    )
    facts = [
        ("bars", f"{n_bars}; {needed} are needed: {reason}"),
        ("purged", training.describe_purge(settings)),
    ]
    for name, part in data.parts.items():
        if len(part):
            up = f"{part.labels.mean():.1%} of them up"
            facts.append(
                (
                    f"{name} part",
                    f"{count(len(part), 'window')} from {day(part.timestamps[0])}, {up}",
                )
            )
    constant = [str(name) for name in data.features.columns[data.features.std() < SMALLEST_SCALE]]
    listed = f"{len(constant)}: {', '.join(constant)}" if constant else "none"
    return [*facts, ("constant features", listed)]


def _print(title: str, facts: Facts) -> None:
    table = Table(show_header=False, title=title, title_justify="left")
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, value)
    console.print(table)


if __name__ == "__main__":
    run(app)
