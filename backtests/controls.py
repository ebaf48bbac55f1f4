"""The command that asks whether learning works.

python backtests/controls.py [--markets ...] [--market-seeds 1 2] [--jobs N] ...
python backtests/controls.py --instruments 20 --architecture bilstm,transformer
"""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pandas as pd
from cyclopts import App, Parameter
from joblib import Parallel, cpu_count, delayed
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from backtests import evidence, synthetic
from backtests.evidence.calibration import BINS
from backtests.reports.terminal import shown
from model.bars.faults import count
from model.cli import VERSION, run
from model.files import require_writable, write_atomically
from model.networks.registry import architectures_of
from model.precision import precision_hint
from model.settings import optional, require, whole
from model.settings_file import SETTINGS
from model.training.config import TrainConfig

if TYPE_CHECKING:
    from backtests.synthetic.control import Control, Row, Store

MARKETS = (
    "regime",
    "volrev",
    "echo",
    "latch",
    "echo:strength=0.5",
    "volrev:strength=0.45",
    "latch:strength=0.4",
    "magecho",
    "walk",
    "walkdrift",
)
SILENT_MARKETS = ("walk", "walkdrift")
BARS, FEW_BARS, HOLDOUT_BARS = 12_000, 3_000, 4_000
SEEDS, POOLED_SEEDS = (1, 2, 3), (1,)
DIFFERENT = "latch+volrev"  # one network for histories of different laws
CALIBRATION = (
    "log_loss",
    "optimum_log_loss",
    "temperature",
    "calibration_error",
    "calibration_error_limit",
)

# Here several may be given.
ALL_BUT_ARCHITECTURE = re.compile("^(?!architecture$)")

app = App(version=VERSION, name="backtests/controls.py")
console = Console(highlight=False)


@app.default
def controls(
    *,
    markets: Annotated[Sequence[str] | None, Parameter(consume_multiple=True)] = None,
    market_seeds: Annotated[Sequence[int] | None, Parameter(consume_multiple=True)] = None,
    instruments: int | None = None,
    bars: int | None = None,
    holdout_bars: int | None = None,
    fresh: int | None = None,
    silence: int | None = None,
    jobs: int | None = None,
    out: Path = Path("controls"),
    architecture: str = TrainConfig.architecture,
    config: Annotated[TrainConfig, Parameter(name="*", parse=ALL_BUT_ARCHITECTURE)] = TrainConfig(),
    settings_file: Annotated[str, Parameter(parse=False)] = "",
) -> None:
    """Train on markets whose best forecast is known, and say how much of it is found.

    Parameters
    ----------
    markets
        Names of markets, with settings like echo:strength=0.5,lag=35; with `instruments` also
        latch+volrev, of which each rules half of them. Default: all that something is known of.
    market_seeds
        Seeds of the markets; `seed` and `seeds` are about the networks' weights. Default: 1, 2 and
        3, or 1 with `instruments`.
    instruments
        Train one network on so many histories of each market instead, and score it on these and on
        as many that it never saw. The program leaves with exit code 1 where it finds less of the
        edge than is required of 20 histories of 3,000 bars.
    bars
        Bars to train, validate and test on; default: 12,000, or 3,000 with `silence` or
        `instruments`.
    holdout_bars
        Bars after them that training never sees, default: 4,000; scores are those of the test part
        and of these.
    fresh
        The old name of `holdout_bars`, gone in the next release.
    silence
        Judge instead whether nothing is found where nothing is: so many seeds of walk and
        walkdrift.
    jobs
        Processes that work at the same time; default: one per usable core. The result does not
        depend on it.
    out
        The folder of the results. A run that was stopped goes on where it was.
    architecture
        Which network: "bilstm", "transformer", "ensemble" for one of each, or one that is
        registered; with `instruments` several, separated by commas.
    """
    holdout_bars = _holdout_bars(holdout_bars, fresh)
    configs = [replace(config, architecture=one) for one in architectures_of(architecture)]
    counts = {"jobs": jobs, "holdout_bars": holdout_bars, "silence": silence}
    _require_possible(counts | {"instruments": instruments}, [one.architecture for one in configs])
    # Where nothing is to be found, many seeds count, not many markets.
    if silence:
        markets, market_seeds = SILENT_MARKETS, range(1, silence + 1)
    elif instruments:
        markets = markets or (*synthetic.REQUIRED, DIFFERENT)
        market_seeds = market_seeds or POOLED_SEEDS
    # Fewer bars suffice where the question is only whether anything is claimed, or many are pooled.
    learned = bars or (FEW_BARS if silence or instruments else BARS)
    wanted = plan(
        markets or MARKETS, market_seeds or SEEDS, learned, holdout_bars, configs, instruments
    )
    store = synthetic.Store(out)
    # Before any training: hours of it must not end at a folder that cannot be written.
    require_writable(out / "controls.json")
    require_writable(store.folder / "row")
    write_atomically(out / SETTINGS, settings_file.encode())
    if hint := precision_hint(config.precision):
        console.print(hint, soft_wrap=True)
    rows = collect(wanted, store, jobs or cpu_count())
    if silence:
        show_silence(rows, out)
        return
    synthetic.write_table(out, rows)
    if instruments:
        console.print(pooled_shares(rows))
    else:
        console.print(found(rows), calibration(rows), sep="\n")
    console.print(f"written to {out}: controls.json, controls.csv", soft_wrap=True)
    if instruments:
        judge_pooled(rows)


def _holdout_bars(holdout_bars: int | None, fresh: int | None) -> int:
    """Return the bars that training never sees; fresh: the same by the flag's old name."""
    # For one release: scripts with the old flag go on, and hear of the new one.
    if fresh is not None:
        if holdout_bars is not None:
            raise ValueError("`fresh` and `holdout_bars` are the same. Give `holdout_bars` alone.")
        warnings.warn(
            "`fresh` is called `holdout_bars` now; the old name goes in the next release.",
            FutureWarning,
            stacklevel=3,
        )
        holdout_bars = fresh
    return HOLDOUT_BARS if holdout_bars is None else holdout_bars


def _require_possible(numbers: Mapping[str, int | None], architectures: Sequence[str]) -> None:
    """Refuse flags that cannot be, or cannot be meant together; numbers: by the flag's name."""
    least = {"jobs": 1, "holdout_bars": 0, "silence": 1, "instruments": 2}
    require(numbers, {name: optional(whole(from_)) for name, from_ in least.items()})
    if numbers["silence"] and numbers["instruments"]:
        raise ValueError("`silence` and `instruments` exclude each other. Give one of them.")
    if len(architectures) > 1 and not numbers["instruments"]:
        raise ValueError(
            f"`architecture` must be one without `instruments`, got {','.join(architectures)}. "
            "Give each its own run and folder."
        )


def plan(
    markets: Sequence[str],
    seeds: Sequence[int],
    bars: int,
    holdout_bars: int,
    configs: Sequence[TrainConfig],
    instruments: int | None,
) -> list[Control]:
    """Return the controls in the order of the table.

    ValueError before any work where one cannot be.
    """
    wanted = [
        synthetic.Control(name, seed, bars, holdout_bars, config, instruments or 1)
        # Each once, in the order given: a market named twice would weigh twice in the means.
        for name in dict.fromkeys(markets)
        for config in configs
        for seed in dict.fromkeys(seeds)
    ]
    for control in wanted:
        if instruments:
            synthetic.require_pooled_control(control)
        else:
            synthetic.parse_market(control.market)
    return wanted


def collect(wanted: Sequence[Control], store: Store, jobs: int) -> list[Row]:
    """Return the rows in order, measuring those that the store does not hold.

    Each is printed when it is there.
    """
    known = {control: row for control in wanted if (row := store.load(control)) is not None}
    # A run that was stopped goes on with these.
    missing = [control for control in wanted if control not in known]
    console.print(f"{count(len(wanted), 'control')}: {len(known)} known, {len(missing)} to measure")
    # In the order in which they end.
    parallel = Parallel(n_jobs=jobs, return_as="generator_unordered")
    for control, row, seconds in parallel(delayed(timed)(control) for control in missing):
        # At once: what is measured is not lost with a later control.
        store.save(control, row)
        known[control] = row
        console.print(
            f"{len(known):3d}/{len(wanted)}  {line(row)}  {seconds:.0f} s", soft_wrap=True
        )
    # In the order asked for: they have ended in any.
    return [known[control] for control in wanted]


def timed(control: Control) -> tuple[Control, Row, float]:
    started = time.perf_counter()
    measure = synthetic.measure if control.instruments == 1 else synthetic.measure_pooled
    return control, measure(control), time.perf_counter() - started


def line(row: Row) -> str:
    """Return one line on a control: what there is, what was found, and by whom."""
    if "unseen" in row:
        return (
            f"{row['market']} {row['seed']}, {row['architecture']}: AUC {_figure(row['auc'])} of "
            f"{_figure(row['optimum_auc'])}, share {_figure(row['share'])}, of instruments never "
            f"seen {_figure(row['unseen'])}; epochs {row['epochs']}"
        )
    share = "-"
    if row["share"] is not None:
        low, high = _figure(row["share_low"]), _figure(row["share_high"])
        share = f"{_figure(row['share'])} [{low}, {high}]"
    return (
        f"{row['market']} {row['seed']}: AUC {_figure(row['auc'])} of "
        f"{_figure(row['optimum_auc'])}, share {share}, "
        f"log loss {_figure(row['log_loss'])} of {_figure(row['optimum_log_loss'])}, "
        f"temperature {_figure(row['temperature'], 2)}; "
        f"logistic {_figure(row['logistic_auc'])}, boosting {_figure(row['boosting_auc'])}, "
        f"ridge {_figure(row['ridge_auc'])}; "
        f"calibration error {_figure(row['calibration_error'])} "
        f"(chance {_figure(row['calibration_error_limit'])}); "
        f"epochs {row['epochs']}"
    )


def found(rows: Sequence[Row]) -> Table:
    """Return the table of what was found: means over the seeds, the worst share beside the mean."""
    table = compact(
        "how much of what is there was found",
        "market",
        "optimum",
        "AUC",
        "share",
        "worst",
        *evidence.BASELINES,
    )
    table.caption = (
        "AUC, means over the seeds; share = (AUC - .5) / (optimum - .5), worst: its least"
    )
    for name, part in by_market(rows):
        shares = part["share"].astype(float)
        columns = (part["optimum_auc"], part["auc"], shares)
        baselines = [_figure(part[f"{baseline}_auc"].mean()) for baseline in evidence.BASELINES]
        table.add_row(
            # The worst beside the mean: a network may miss what one seed plants and find that of
            # the others.
            name,
            *(_figure(column.mean()) for column in columns),
            _figure(shares.min()),
            *baselines,
        )
    return table


def pooled_shares(rows: Sequence[Row]) -> Table:
    """Return the table of what one network for many instruments found, a row for each control."""
    table = compact(
        "how much one network for all found",
        "market",
        "network",
        "optimum",
        "share",
        "required",
        "least",
        "unseen",
        "other",
    )
    table.caption = (
        "share = (AUC - .5) / (optimum - .5), the mean over the instruments; least: of one of "
        "them; unseen: of instruments it never saw; other: of shared, taught whether the price "
        "rises instead of who beats the others, of several laws, a network for each instrument"
    )
    for row in rows:
        other = row["single"] if row["direction"] is None else row["direction"]
        required = synthetic.REQUIRED.get(str(row["market"]))
        table.add_row(
            f"{row['market']} {row['seed']}",
            str(row["architecture"]),
            *(_figure(value) for value in (row["optimum_auc"], row["share"])),
            _figure(required, 2),
            *(_figure(share) for share in (row["least"], row["unseen"], other)),
        )
    return table


def judge_pooled(rows: Sequence[Row]) -> None:
    """Print which rows are below what is required; SystemExit(1) where any is."""
    faults = [
        f"{row['market']} {row['seed']}, {row['architecture']}: {fault}"
        for row in rows
        for fault in synthetic.faults_of(row)
    ]
    for fault in faults or ["all that is required of 20 histories of 3,000 bars is held"]:
        console.print(fault, soft_wrap=True)
    if faults:
        raise SystemExit(1)


def calibration(rows: Sequence[Row]) -> Table:
    """Return the table of how sure the network was, and how sure it may be.

    Means over the seeds.
    """
    table = compact(
        "how sure it was",
        "market",
        "log loss",
        "optimum",
        "heat",
        "error",
        "chance",
        "bins outside",
        "epochs",
    )
    table.caption = (
        "means over the seeds; heat: the temperature; error: of calibration, in 19 of 20 cases up "
        "to the next figure by chance alone; bins outside the band that chance gives: 1 in 20"
    )
    for name, part in by_market(rows):
        figures = [_figure(part[column].mean()) for column in CALIBRATION]
        outside = f"{part['bins_outside'].sum()} of {BINS * len(part)}"
        table.add_row(name, *figures, outside, f"{part['epochs'].mean():.0f}")
    return table


def by_market(rows: Sequence[Row]) -> Iterator[tuple[str, pd.DataFrame]]:
    for name, part in pd.DataFrame(list(rows)).groupby("market", sort=False):
        yield str(name), part


def compact(title: str, *columns: str) -> Table:
    """Return an empty table whose figures fit into 80 columns of a terminal."""
    table = Table(title=title, box=SIMPLE_HEAD, padding=0)
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number else "left", no_wrap=not number)
    return table


def show_silence(rows: Sequence[Row], out: Path) -> None:
    """Write silence.csv and print it: what is found where nothing is."""
    silent = synthetic.silence(rows)
    write_atomically(out / "silence.csv", silent.to_csv(index=False).encode())
    seeds = count(int(silent["seeds"].iloc[0]), "seed")
    table = compact(
        f"what was found where nothing is, means over {seeds}",
        "market",
        "forecast",
        "AUC",
        "balanced",
        "MCC",
        "accuracy",
        "base",
        "error",
        "surprise",
        "far",
    )
    table.caption = (
        "balanced: the balanced accuracy; base: the accuracy of the more frequent class; error: "
        "standard error of the mean AUC; surprise: its distance from .5 in these; far: seeds more "
        "than two of theirs away, 1 in 22 by chance"
    )
    for values in silent.drop(columns="seeds").itertuples(index=False):
        table.add_row(
            *(_figure(value) if isinstance(value, float) else str(value) for value in values)
        )
    console.print(table)
    console.print(f"written to {out}: silence.csv", soft_wrap=True)


def _figure(value: object, digits: int = 3) -> str:
    return shown(value, f".{digits}f")


if __name__ == "__main__":
    run(app)
