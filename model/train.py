"""The command that trains a network on bars and saves a checkpoint.

python -m model.train [--data FILE] [--out FILE] [any field of TrainConfig]
python -m model.train --data FOLDER --pooled [...]
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pandas as pd
from cyclopts import App, Parameter
from pythonjsonlogger.json import JsonFormatter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from model import training
from model.bars.faults import count
from model.bars.intervals import day
from model.bars.read import require_usual_spacing
from model.bars.universe import Universe, faults_together, universe_of
from model.cli import (
    ALL_BUT_DATA,
    DATA,
    RUNNING,
    TRAINING,
    VERSION,
    BarsOptions,
    OnFaulty,
    bar_files,
    describe_bars,
    describe_universe,
    is_universe,
    pooled_files,
    read_universe,
    require_pooled,
    run,
)
from model.context import NO_CONTEXT, ContextOptions
from model.errors import TrainingDiverged
from model.files import require_writable, write_atomically
from model.precision import precision_hint
from model.settings_file import SETTINGS
from model.training.config import TrainConfig

if TYPE_CHECKING:
    from model.checkpoint.checkpoint import Checkpoint
    from model.training.loop import Epoch

app = App(version=VERSION, name="model.train")
console = Console(highlight=False)
BARS = BarsOptions()


@app.default
def train(
    *,
    data: Annotated[
        list[Path] | None, Parameter(group=DATA, consume_multiple=True, negative=())
    ] = None,
    bars_options: Annotated[
        BarsOptions, Parameter(name="*", group=DATA, parse=ALL_BUT_DATA)
    ] = BARS,
    pooled: Annotated[bool, Parameter(group=DATA)] = False,
    on_faulty: Annotated[OnFaulty, Parameter(group=DATA)] = "error",
    out: Annotated[Path | None, Parameter(group=RUNNING)] = None,
    deploy: Annotated[Path | None, Parameter(group=RUNNING)] = None,
    log_json: Annotated[Path | None, Parameter(group=RUNNING)] = None,
    fresh: Annotated[bool, Parameter(group=RUNNING)] = False,
    context_options: Annotated[ContextOptions, Parameter(name="*", group=DATA)] = NO_CONTEXT,
    config: Annotated[TrainConfig, Parameter(name="*", group=TRAINING)] = TrainConfig(),
    settings_file: Annotated[str, Parameter(parse=False)] = "",
) -> None:
    """Train the network on bars and save one self-contained checkpoint.

    Parameters
    ----------
    data
        A CSV, Parquet or Feather file of bars; default: the NASDAQ Composite, daily, 1999 to 2018.
        With --pooled several files, or a folder of them.
    pooled
        Train one network on the bars of all files: a universe, of which it forecasts any
        instrument.
    on_faulty
        Files of a universe that cannot be used: "error" refuses the universe and names them all,
        "drop" leaves them out and names them.
    out
        Where the checkpoint goes; default: the instrument's name, or the folder's, with .ckpt in
        this folder.
    deploy
        A schedule folder: train without a test part up to the last bar and drop the checkpoint
        there, named by instrument and date.
    log_json
        A file that gets one JSON line per event.
    fresh
        Start over, even if this training was interrupted and could go on.
    """
    paths = data or []
    _require_possible(paths, pooled, bool(out and deploy), config)
    options = replace(bars_options, data=None if pooled or not paths else paths[0])
    name = options.file_name
    if pooled:
        # The folder is what the files have in common.
        name = paths[0].resolve().name if len(paths) == 1 else "universe"
    # The date in a deployed name is known after training; until then the name without it will do.
    result = deploy / name if deploy else out or Path(f"{name}.ckpt")
    require_writable(result)  # hours of work do not end in a refusal
    if deploy:
        config = config.without_test()
    read: pd.DataFrame | Universe = (
        _universe(options, paths, on_faulty, config) if pooled else options.read()
    )
    joined = context_options.join(read, options, config.lookback)
    bars = joined.bars
    if isinstance(bars, pd.DataFrame):
        # Before anything is said of them: of too few there is nothing to describe.
        training.require_enough_bars(bars, config)
    describe(bars, config, joined.lines)
    checkpoint = _fit(bars, config, result, log_json, fresh=fresh, deployed=bool(deploy))
    # A schedule knows its files by the bar that they were trained until.
    if deploy:
        result = deploy / _deployed_name(name, checkpoint)
    made_by = result.with_suffix(f".{SETTINGS}")
    write_atomically(made_by, settings_file.encode())
    show(checkpoint)
    console.print(f"settings: {made_by}", soft_wrap=True)
    console.print(f"checkpoint: {result}\nsha256: {checkpoint.digest}", soft_wrap=True)


def _fit(
    bars: pd.DataFrame | Universe,
    config: TrainConfig,
    result: Path,
    log_json: Path | None,
    *,
    fresh: bool,
    deployed: bool,
) -> Checkpoint:
    """Train, and save the checkpoint.

    result: its file; with `deployed`, without the date, which is known after training.
    """
    with (
        _json_log(log_json) as log,
        _progress_bar() as progress,
        training.resumption(result, bars, fresh=fresh) as kept,
    ):
        try:
            checkpoint = training.fit(bars, config, _reporter(progress, log), kept)
        except TrainingDiverged as error:
            kept.finish()
            if deployed or error.checkpoint is None:  # what did not end well is not deployed
                raise
            error.checkpoint.save(result)
            message = f"{error} The best epoch before that is kept in {result}."
            raise TrainingDiverged(message) from error
        # Logged before it is saved: a disk that is full loses the file, not what was found.
        facts = {name: getattr(checkpoint, name) for name in ("metrics", "parts", "digest")}
        log.info("trained", extra=facts)
        file = result.with_name(_deployed_name(result.name, checkpoint)) if deployed else result
        checkpoint.save(file)
        kept.finish()
    return checkpoint


def _deployed_name(name: str, checkpoint: Checkpoint) -> str:
    return f"{name}-{checkpoint.trained_until:%Y%m%dT%H%M%S}.ckpt"


def _require_possible(paths: Sequence[Path], pooled: bool, both: bool, config: TrainConfig) -> None:
    """Refuse several files without --pooled, one with it, and what one alone cannot have.

    both: whether --out and --deploy are given.
    """
    if both:
        raise ValueError(
            "`out` and `deploy` exclude each other: deploy names the file itself. Give one of them."
        )
    if not pooled and is_universe(paths):
        raise ValueError(
            f"`data` must be one file without `pooled`, got {', '.join(map(str, paths))}. "
            "Give `pooled` for one network of all."
        )
    require_pooled(pooled, config.outcome)
    if pooled:
        pooled_files(paths)


def _universe(
    options: BarsOptions, paths: Sequence[Path], on_faulty: OnFaulty, config: TrainConfig
) -> dict[str, pd.DataFrame]:
    """Return the bars of all files by name; those left out on request are named."""
    universe, left_out = read_universe(
        options,
        bar_files(paths),
        require_usual_spacing,
        on_faulty,
        together=partial(faults_together, fewest=config.fewest_instruments),
    )
    for one in left_out:
        console.print(f"left out {one.file}: {one.reason}", soft_wrap=True, markup=False)
    return universe


def describe(
    bars: pd.DataFrame | Universe, config: TrainConfig, joined: Sequence[str] = ()
) -> None:
    """Print what is trained on, and whether this processor has a faster precision.

    joined: a line on each of the other series.
    """
    universe = universe_of(bars)
    first = describe_bars(bars) if isinstance(bars, pd.DataFrame) else describe_universe(universe)
    labels = training.describe_labels(universe, config)
    unit = "window" if isinstance(bars, pd.DataFrame) else "date"
    purged = f"purged: {training.describe_purge(config, unit)}"
    own, hint = training.describe_features(config), precision_hint(config.precision)
    for line in (first, *joined, own, f"labels: {labels}", purged, hint):
        if line:  # a precision that is right needs no hint
            console.print(line, soft_wrap=True)


def _reporter(progress: Progress, log: logging.Logger) -> Callable[[Epoch], None]:
    """Return what `fit` is to call after each epoch.

    It prints a line, moves the progress bar on and writes a line to the log.
    """
    task = progress.add_task("epochs", total=None)

    def report(epoch: Epoch) -> None:
        best = " *" if epoch.best_epoch == epoch.epoch else ""
        progress.console.print(
            f"{epoch.member}  epoch {epoch.epoch:3d}  train {epoch.train_loss:.4f}  "
            f"validation {epoch.validation_loss:.4f}  learning rate {epoch.learning_rate:.1e}{best}"
        )
        # Each member of an ensemble starts the bar again.
        progress.update(
            task, description=epoch.member, total=epoch.max_epochs, completed=epoch.epoch
        )
        log.info("epoch", extra=asdict(epoch))

    return report


def _progress_bar() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("at most"),  # patience may end training earlier
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True)


@contextmanager
def _json_log(path: Path | None) -> Iterator[logging.Logger]:
    """Yield a logger that writes JSON lines to `path`, or nowhere."""
    log = logging.Logger("model.train")  # not of logging's tree: nobody else's settings reach it
    handler: logging.Handler = logging.NullHandler()
    if path:
        require_writable(path)
        handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    handler.setFormatter(JsonFormatter("%(message)s", rename_fields={"message": "event"}))
    log.addHandler(handler)
    try:
        yield log
    finally:
        handler.close()


def show(checkpoint: Checkpoint) -> None:
    """Print the parts and the scores of a trained checkpoint."""
    console.print(_parts_table(checkpoint))
    for member in checkpoint.members:
        console.print(f"{member.name}: {member.summary}; temperature {member.temperature:.2f}")
    learnt = checkpoint.instruments or {}
    of = f" on {count(len(learnt), 'instrument')}" if len(learnt) > 1 else ""
    console.print(f"trained{of} until {day(checkpoint.trained_until)}")
    console.print(_scores_table(checkpoint))
    if len(checkpoint.members) > 1:
        console.print(_members_table(checkpoint))
    console.print(compare_with_logistic(checkpoint.metrics))


def compare_with_logistic(metrics: Mapping[str, float | None]) -> str:
    """Say which of the network and logistic regression forecasts the validation part better."""
    # On validation, not on the test part: whoever chooses by this line does not use up the test.
    network, logistic = (metrics[f"validation_{name}log_loss"] or 0.0 for name in ("", "logistic_"))
    verdict = "better than" if network < logistic else "no better than"
    return (
        f"on validation the network is {verdict} logistic regression on the last row "
        f"(log loss {network:.4f}, {logistic:.4f})"
    )


def _parts_table(checkpoint: Checkpoint) -> Table:
    table = Table("part", "windows", "first decision", "last decision", "up-share", title="parts")
    for name, part in checkpoint.parts.items():
        first, last = (part[end] and day(str(part[end])) for end in ("first", "last"))
        cells = (part["windows"], first, last, part["up_share"])
        table.add_row(name, *(_cell(value, digits=3) for value in cells))
    return table


def _scores_table(checkpoint: Checkpoint) -> Table:
    metrics = checkpoint.metrics
    parts = [part for part in ("validation", "test") if f"{part}_auc" in metrics]
    table = Table("score", *parts, title="scores")
    if "test" in parts:
        table.caption = "the test part was used for nothing else"
    for key in metrics:
        part, score = key.split("_", 1)
        # Every score stands once for each part; validation has them all.
        if part == "validation":
            cells = (_cell(metrics[f"{part}_{score}"]) for part in parts)
            table.add_row(score.replace("_", " "), *cells)
    return table


def _members_table(checkpoint: Checkpoint) -> Table:
    """Return the scores of each member, their mean and their deviation.

    The deviation says how much luck there is in a single member.
    """
    wanted = [f"{part}_{score}" for part in ("validation", "test") for score in ("auc", "log_loss")]
    names = [name for name in wanted if name in checkpoint.metrics]
    titles = [name.replace("_", " ") for name in names]
    table = Table("member", *titles, title="members, each alone")
    for member in checkpoint.members:
        table.add_row(member.name, *(_cell(member.metrics[name]) for name in names))
    table.add_section()
    scores = pd.DataFrame([member.metrics for member in checkpoint.members], dtype=float)[names]
    table.add_row("mean", *map(_cell, scores.mean()))
    # Differences between networks within it are luck of their first weights.
    table.add_row("deviation", *map(_cell, scores.std()))
    return table


def _cell(value: object, digits: int = 4) -> str:
    if value is None:
        return "-"
    # Dates, and counts that are whole.
    if not isinstance(value, float):
        return str(value)
    # Counts among the scores are floats too.
    return f"{value:.0f}" if value > 1 and value.is_integer() else f"{value:.{digits}f}"


if __name__ == "__main__":
    run(app)
