"""A universe: several files of bars, an instrument each, walked over together and judged as one."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd

from model.bars.intervals import bar_interval, spoken
from model.bars.read import digest_bars
from model.cli import BarsOptions, sources_of
from model.errors import BarsError, Setting, Text, as_flags

OnFaulty = Literal["error", "drop"]
DROP = Setting("on_faulty", "drop")


class LeftOut(NamedTuple):
    """A file that was left out of a universe on request, and what is wrong with it."""

    file: str
    reason: str


def is_universe(paths: Sequence[Path]) -> bool:
    """Return whether these are several files, or a folder of files, rather than one."""
    return len(paths) > 1 or any(path.is_dir() for path in paths)


def read_universe(
    options: BarsOptions,
    files: Sequence[Path],
    fits: Callable[[pd.DataFrame], object],
    on_faulty: OnFaulty = "error",
) -> tuple[dict[str, pd.DataFrame], list[LeftOut]]:
    """Return the bars of each file by the instrument's name, and the files that are left out.

    The name is as it may stand in file names. fits: raises BarsError for bars that the plan cannot
    be laid over. on_faulty: "drop" leaves out the files that cannot be used by themselves.

    One BarsError names every file that cannot be used with its fault, so that a folder of a hundred
    is mended in one go.
    """
    sources = sources_of(options, files)
    universe: dict[Path, pd.DataFrame] = {}
    faults: dict[Path, Text] = {}
    for file, source in zip(files, sources, strict=True):
        try:
            bars = source.read()
            fits(bars)
        except BarsError as error:
            # The next file is read all the same; and some messages name their file themselves.
            named = file.name in str(error)
            faults[file] = error.args if named else (f"{file.name}: ", *error.args)
        else:
            universe[file] = bars
    # Of sound files only: what could not be read can be compared with nothing.
    by_name = {file.name: bars for file, bars in universe.items()}
    # Which of two that do not go together is to be left out cannot be guessed.
    told = _equal_names(sources) + _equal_bars(by_name) + _other_intervals(by_name)
    if told or not universe or (faults and on_faulty == "error"):
        listed = chain.from_iterable(("\n- ", *fault) for fault in [*faults.values(), *told])
        if faults and not told and universe:
            listed = chain(listed, ("\nMend them, or leave them out with ", DROP, "."))
        raise BarsError(
            f"the universe of {len(files)} files cannot be used, and nothing was trained:", *listed
        )
    read = {
        source.file_name: universe[file]
        for file, source in zip(files, sources, strict=True)
        if file in universe
    }
    return read, [LeftOut(file.name, as_flags(fault)) for file, fault in faults.items()]


def _equal_names(sources: Sequence[BarsOptions]) -> list[Text]:
    """Say which files would write their results into one folder, the instrument's."""
    files: dict[str, list[str]] = {}
    for source in sources:
        files.setdefault(source.file_name, []).append(str(source.data))
    return [
        (
            f"{', '.join(same)} must have different names: the folder of each is called {name}. "
            "Rename all but one.",
        )
        for name, same in files.items()
        if len(same) > 1
    ]


def _equal_bars(universe: Mapping[str, pd.DataFrame]) -> list[Text]:
    """Say which files are copies: the evidence would take them for instruments of their own."""
    files: dict[str, list[str]] = {}
    for file, bars in universe.items():
        files.setdefault(digest_bars(bars), []).append(file)
    return [
        (f"{', '.join(same)} hold the same bars, which would count {len(same)} times. Leave one.",)
        for same in files.values()
        if len(same) > 1
    ]


def _other_intervals(universe: Mapping[str, pd.DataFrame]) -> list[Text]:
    """Say which files differ from the usual interval: figures per bar mean nothing over both."""
    intervals = {
        file: spoken(bar_interval(pd.DatetimeIndex(bars.index))) for file, bars in universe.items()
    }
    if len(set(intervals.values())) < 2:
        return []
    [(usual, _)] = Counter(intervals.values()).most_common(1)
    others = ", ".join(
        f"{file} ({interval})" for file, interval in intervals.items() if interval != usual
    )
    return [
        (
            f"all files must have bars of the same interval, most have {usual}, but not {others}. "
            "Run each interval by itself.",
        )
    ]
