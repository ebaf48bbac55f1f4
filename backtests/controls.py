"""The command that asks whether learning works: python backtests/controls.py [--markets ...] [--seeds 1 2 3] [--jobs N] ..."""
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from cyclopts import App, Parameter
from joblib import Parallel, delayed
from rich.console import Console
from rich.table import Table

from backtests.baselines import BASELINES
from backtests.control_table import Control, Row, Store, measure, parse_market, silence, write_table
from model.command import run
from model.files import require_writable, write_atomically
from model.training import TrainConfig

MARKETS = ("regime", "volrev", "echo", "latch", "echo:strength=0.5", "volrev:strength=0.45", "latch:strength=0.4", "magecho",
           "walk", "walkdrift")
SILENT_MARKETS = ("walk", "walkdrift")
BARS, SILENT_BARS = 12_000, 3_000

app = App(name="backtests/controls.py", help="Train on markets whose best forecast is known, and say how much of it is found.")
console = Console(highlight=False)


@app.default
def controls(
    *,
    markets: Annotated[list[str], Parameter(consume_multiple=True)] = list(MARKETS),
    seeds: Annotated[list[int], Parameter(consume_multiple=True)] = [1, 2, 3],
    bars: int | None = None,
    fresh: int = 4_000,
    silence: int | None = None,
    jobs: int = 1,
    out: Path = Path("controls"),
    config: Annotated[TrainConfig, Parameter(name="*")] = TrainConfig(),
) -> None:
    """Train on markets whose best forecast is known, and say how much of it is found.

    Parameters
    ----------
    markets
        Names of markets, with settings like echo:strength=0.5,lag=35.
    seeds
        Seeds of the markets; `seed` is that of the network's weights.
    bars
        Bars to train, validate and test on; default: 12,000, or 3,000 with `silence`.
    fresh
        Bars after them that training never sees; scores are those of the test part and of these.
    silence
        Judge instead whether nothing is found where nothing is: so many seeds of walk and walkdrift.
    jobs
        Processes that train at the same time; the result does not depend on it.
    out
        The folder of the results. A run that was stopped goes on where it was.
    """
    require_from({"jobs": (jobs, 1), "fresh": (fresh, 0), "silence": (silence, 1)})
    if silence:
        markets, seeds = list(SILENT_MARKETS), list(range(1, silence + 1))
    wanted = plan(markets, seeds, bars or (SILENT_BARS if silence else BARS), fresh, config)
    store = Store(out)
    require_writable(out / "controls.json")
    require_writable(store.folder / "row")
    rows = collect(wanted, store, jobs)
    if silence:
        show_silence(rows, out)
    else:
        write_table(out, rows)
        console.print(summary(rows))
        console.print(f"written to {out}: controls.json, controls.csv", soft_wrap=True)


def plan(markets: Sequence[str], seeds: Sequence[int], bars: int, fresh: int, config: TrainConfig) -> list[Control]:
    """Return the controls in the order of the table; ValueError before any work where one cannot be."""
    for name in markets:
        parse_market(name)
    return [Control(name, seed, bars, fresh, config) for name in dict.fromkeys(markets) for seed in dict.fromkeys(seeds)]


def require_from(limits: Mapping[str, tuple[int | None, int]]) -> None:
    """Raise where a number is below its least; None is none."""
    faults = [f"`{name}` must be at least {least}, got {value}." for name, (value, least) in limits.items()
              if value is not None and value < least]
    if faults:
        raise ValueError(" ".join(faults))


def collect(wanted: Sequence[Control], store: Store, jobs: int) -> list[Row]:
    """Return the rows in order, measuring those that the store does not hold; each is printed when it is there."""
    known = {control: row for control in wanted if (row := store.load(control)) is not None}
    missing = [control for control in wanted if control not in known]
    console.print(f"{len(wanted)} controls: {len(known)} known, {len(missing)} to measure")
    for control, row, seconds in measured(missing, jobs):
        store.save(control, row)
        known[control] = row
        console.print(f"{len(known):3d}/{len(wanted)}  {line(row)}  {seconds:.0f} s", soft_wrap=True)
    return [known[control] for control in wanted]


def measured(missing: Sequence[Control], jobs: int) -> Iterator[tuple[Control, Row, float]]:
    """Yield each control with its row and the seconds it took, in the order in which they end."""
    parallel = Parallel(n_jobs=jobs, return_as="generator_unordered")
    yield from parallel(delayed(timed)(control) for control in missing)


def timed(control: Control) -> tuple[Control, Row, float]:
    started = time.perf_counter()
    return control, measure(control), time.perf_counter() - started


def line(row: Row) -> str:
    """Return one line on a control: what there is, what was found, and by whom."""
    return (f"{row['market']} {row['seed']}: AUC {_figure(row['auc'])} of {_figure(row['optimum_auc'])}, share {_share(row)}, "
            f"log loss {_figure(row['log_loss'])} of {_figure(row['optimum_log_loss'])}, "
            f"temperature {_figure(row['temperature'], 2)}; "
            f"logistic {_figure(row['logistic_auc'])}, boosting {_figure(row['boosting_auc'])}, "
            f"ridge {_figure(row['ridge_auc'])}; "
            f"calibration error {_figure(row['calibration_error'])} (chance {_figure(row['calibration_error_limit'])}); "
            f"{row['epochs']} epochs")


def summary(rows: Sequence[Row]) -> Table:
    """Return the table of means over the seeds, the range of the shares beside their mean."""
    table = Table("market", "seeds", "optimum AUC", "AUC", "share", "from", "to", "log loss", "above optimum", *BASELINES,
                  "temperature", "bins outside", "epochs", title="how much of what is there was found")
    table.caption = ("share = (AUC - .5) / (optimum AUC - .5); means over the seeds; "
                     "bins outside the band that chance gives: 1 in 20 by chance")
    for name, part in pd.DataFrame(list(rows)).groupby("market", sort=False):
        table.add_row(str(name), str(len(part)), *_means(part))
    return table


def _means(part: pd.DataFrame) -> list[str]:
    shares = part["share"].astype(float)
    above = part["log_loss"] - part["optimum_log_loss"]
    baselines = [part[f"{name}_auc"] for name in BASELINES]
    figures = [_figure(column.mean()) for column in (part["optimum_auc"], part["auc"], shares, part["log_loss"], above, *baselines)]
    return [*figures[:3], _figure(shares.min()), _figure(shares.max()), *figures[3:], _figure(part["temperature"].mean(), 2),
            f"{part['bins_outside'].sum()}/{10 * len(part)}", f"{part['epochs'].mean():.0f}"]


def show_silence(rows: Sequence[Row], out: Path) -> None:
    """Write silence.csv and print it: what is found where nothing is."""
    found = silence(rows)
    write_atomically(out / "silence.csv", found.to_csv(index=False).encode())
    table = Table(*(name.replace("_", " ") for name in found.columns), title="what was found where nothing is")
    table.caption = ("surprise: distance of the mean AUC from .5 in standard errors; "
                     "beyond two: seeds more than two of theirs away, 1 in 22 by chance")
    for values in found.itertuples(index=False):
        table.add_row(*(_figure(value, 4) if isinstance(value, float) else str(value) for value in values))
    console.print(table)
    console.print(f"written to {out}: silence.csv", soft_wrap=True)


def _share(row: Row) -> str:
    if row["share"] is None:
        return "-"
    return f"{_figure(row['share'])} [{_figure(row['share_low'])}, {_figure(row['share_high'])}]"


def _figure(value: Any, digits: int = 3) -> str:
    return "-" if value is None or pd.isna(value) else f"{value:.{digits}f}"


if __name__ == "__main__":
    run(app)
