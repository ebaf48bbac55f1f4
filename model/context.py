"""The options of commands that join other series to the bars."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, NamedTuple

import numpy as np
import pandas as pd
from cyclopts import Parameter

from model.bars.faults import count
from model.bars.intervals import spoken
from model.bars.universe import Bars, universe_of
from model.cli import BarsOptions
from model.errors import FeatureError
from model.features.joining import (
    MAX_AGE,
    add_context,
    join_all,
    record_for,
    wanted_series,
    whole,
    with_columns,
)
from model.features.series import ContextRecord
from model.settings import number, require_fields


class JoinedBars(NamedTuple):
    """Bars with the columns of other series, the series' own bars by name, and a line on each."""

    bars: Bars
    series: Mapping[str, pd.DataFrame] = MappingProxyType({})
    lines: Sequence[str] = ()


@dataclass(frozen=True)
class ContextOptions:
    """Other series beside the bars, joined by the time at which they were known.

    Parameters
    ----------
    context
        Files of other series whose columns the network sees too: spy.csv for all 86,
        spy.csv:ret_z_5,vol_ratio_5_20 for some, nikkei.csv@Asia/Tokyo for the zone of its dates;
        self:1W for slower bars of the instrument itself; of several files
        universe:rank(ret_z_5),mean(ret_z_5) for its place among all and their mean.
    closes
        When the instrument's own dates end, a zone or a time and a zone, as "16:00
        America/New_York": needed where a series is of another zone or within the day.
    max_context_age
        Days by which the newest bar of a series may be older than one of its intervals; beyond
        there is no forecast.
    """

    _: KW_ONLY
    context: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())] = ()
    closes: str = ""
    max_context_age: Annotated[float, number(0)] = MAX_AGE

    def __post_init__(self) -> None:
        require_fields(self)
        # A flag that would do nothing was meant to do something.
        if self.closes and not self.context:
            raise ValueError(
                f"`closes` must be left out without `context`, got {self.closes!r}: it says only "
                "when other series are known."
            )

    def join(
        self,
        bars: Bars,
        options: BarsOptions,
        lookback: int,
        *,
        series: Mapping[str, pd.DataFrame] | None = None,
        record: ContextRecord | None = None,
    ) -> JoinedBars:
        """Return bars with the series beside them, for whoever trains on them.

        lookback: of the features. series: bars that are not to be read, as of a planted market.
        record: of a checkpoint, which knows the series' columns and clocks; None for the user's.
        """
        if not self.context and record is None:
            return JoinedBars(bars)
        given, universe = self.read(options, series or {}), universe_of(bars)
        record = record or record_for(
            universe,
            wanted_series(self.context),
            given,
            closes=self.closes,
            max_age=self.max_context_age,
        )
        tables, ages = {}, []
        for name, joined in join_all(universe, record, given).items():
            own = universe[name]
            tables[name] = whole(with_columns(own, joined, record), joined, record, lookback)
            # Of the bars that are left: before them a series may not have begun.
            ages.append(joined.ages[len(own) - len(tables[name]) :])
        lines = []
        for one, age in zip(record.series, np.concatenate(ages).T, strict=True):
            # Older than its own interval: at these bars the next one should have been there.
            due = int((age >= one.interval).sum())
            lines.append(
                f"{one.title}: {count(len(one.columns), 'column')}, at most "
                f"{spoken(pd.Timedelta(int(age.max()), 'ns'))} old at a decision"
                + (f"; at {due} of {len(age)} a newer bar was due" if due else "")
            )
        [first, *_] = tables.values()
        return JoinedBars(first if isinstance(bars, pd.DataFrame) else tables, given, lines)

    def serve(
        self, bars: Bars, options: BarsOptions, record: ContextRecord | None
    ) -> tuple[Bars, dict[str, float | None]]:
        """Return bars with the series that a checkpoint was trained with, and how old each is.

        These are seconds at the last bar, of several instruments the most; None where no bar of a
        series is known.
        """
        if record is None:
            if self.context:
                raise FeatureError(
                    f"`context` must be left out, got {', '.join(self.context)}: the checkpoint "
                    "was trained without other series."
                )
            return bars, {}
        series = self.read(options, {})
        found = join_all(universe_of(bars), record, series)
        # Of several instruments the oldest: the user asks whether to trust any.
        ages = [joined.ages[-1] for joined in found.values()]
        at_most = dict(zip(record.series, np.max(ages, axis=0).tolist(), strict=True))
        told = {one.title: None if age < 0 else age / 1e9 for one, age in at_most.items()}
        return add_context(bars, record, series=series), told

    def read(
        self, options: BarsOptions, given: Mapping[str, pd.DataFrame]
    ) -> dict[str, pd.DataFrame]:
        """Return the bars of all series by name, read as those of the instrument are."""
        read = dict(given)
        for one in wanted_series(self.context):
            # Slower bars and places are made of the instruments themselves.
            if one.brings_bars and one.name not in read:
                # A series that says no zone of its own is read as the instrument is.
                zone = one.clock.rpartition(" ")[2] or options.timezone
                source = BarsOptions(
                    Path(one.place),
                    instrument=one.name,
                    timezone=zone,
                    stamp=options.stamp,
                    date_format=options.date_format,
                    decimal=options.decimal,
                    on_missing=options.on_missing,
                )
                read[one.name] = source.read()
        return read


def age_words(ages: Mapping[str, float | None]) -> list[str]:
    """Return a line on each series: how old its newest bar was at the decision."""
    return [
        f"{title}: no bar of it is known"
        if age is None
        else f"{title}: complete {spoken(pd.Timedelta(age, 's'))} before the decision"
        if age
        else f"{title}: complete at the decision"
        for title, age in ages.items()
    ]


NO_CONTEXT = ContextOptions()
