"""A universe: several files of bars, each a market of its own, walked over together and judged as
one.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pandas as pd

from model.bars.intervals import spoken
from model.bars.read import bar_interval, digest_bars
from model.cli import ENDINGS, BarsOptions
from model.errors import BarsError, Text


def bar_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files, with each folder replaced by the files of bars in it, by name.

    BarsError for one without any.
    """
    files: list[Path] = []
    for path in paths:
        found = [path]
        if path.is_dir():
            found = [
                file
                for file in sorted(path.iterdir())
                if ENDINGS.search(file.name) and not file.name.startswith(".")
            ]
        if not found:
            raise BarsError(
                f"{path} must hold files of bars, named .csv, .txt, .parquet or the like, got none."
            )
        files += found
    return files


def is_universe(paths: Sequence[Path]) -> bool:
    """Return whether these are several files, or a folder of files, rather than one."""
    return len(paths) > 1 or any(path.is_dir() for path in paths)


def read_universe(
    options: BarsOptions, files: Sequence[Path], fits: Callable[[pd.DataFrame], object]
) -> dict[str, pd.DataFrame]:
    """Return the bars of each file by the market's name, as it may stand in file names.

    fits: raises BarsError for bars that the plan cannot be laid over. Raises one BarsError that
    names every file that cannot be used, with its fault.
    """
    if options.instrument or options.ticker:
        raise ValueError(
            "`instrument` and `ticker` must be left out with several files: each is called after its file."
        )
    markets: dict[Path, tuple[str, pd.DataFrame]] = {}
    faults: list[Text] = []
    for file in files:
        source = replace(options, data=file)
        try:
            bars = source.read()
            fits(bars)
        except BarsError as error:
            faults.append(
                error.args if file.name in str(error) else (f"{file.name}: ", *error.args)
            )
            continue
        markets[file] = (source.file_name, bars)
    faults += _same_names([replace(options, data=file) for file in files])
    faults += _same_bars({file.name: bars for file, (_, bars) in markets.items()})
    faults += _other_intervals({file.name: bars for file, (_, bars) in markets.items()})
    if faults:
        listed = chain.from_iterable(("\n- ", *fault) for fault in faults)
        raise BarsError(
            f"the universe of {len(files)} files cannot be used, and nothing was trained:", *listed
        )
    return dict(markets.values())


def _same_names(sources: Sequence[BarsOptions]) -> list[Text]:
    counts = Counter(source.file_name for source in sources)
    return [
        (
            f"{', '.join(str(source.data) for source in sources if source.file_name == name)} must have different names: "
            f"the folder of each is called {name}. Rename all but one.",
        )
        for name, count in counts.items()
        if count > 1
    ]


def _same_bars(markets: Mapping[str, pd.DataFrame]) -> list[Text]:
    files: dict[str, list[str]] = {}
    for file, bars in markets.items():
        files.setdefault(digest_bars(bars), []).append(file)
    return [
        (f"{', '.join(same)} hold the same bars, which would count {len(same)} times. Leave one.",)
        for same in files.values()
        if len(same) > 1
    ]


def _other_intervals(markets: Mapping[str, pd.DataFrame]) -> list[Text]:
    """Say which files differ from the interval that most have.

    Figures per bar mean nothing over both.
    """
    intervals = {
        file: spoken(bar_interval(pd.DatetimeIndex(bars.index))) for file, bars in markets.items()
    }
    if len(set(intervals.values())) < 2:
        return []
    usual = Counter(intervals.values()).most_common(1)[0][0]
    others = ", ".join(
        f"{file} ({interval})" for file, interval in intervals.items() if interval != usual
    )
    return [
        (
            f"all files must have bars of the same interval, most have {usual}, but not {others}. Run each interval by itself.",
        )
    ]
