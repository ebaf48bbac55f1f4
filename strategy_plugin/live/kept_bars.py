"""The bars that a feed has brought, kept in a Parquet file for the next training."""

import datetime as dt
import io
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pyarrow

from model.bars.faults import COLUMNS
from model.errors import BarsError
from model.files import require_writable, write_atomically
from strategy_plugin.live.venue import VenueBar

# The whole file is written for each batch: of the bars kept a thousandth, and at most so many.
LARGEST_BATCH = 100


class KeptBars:
    """One symbol's bars in their order, each once; the file is whole at any moment.

    What a killed process had not written yet, the history brings again at the next start.

    Parameters
    ----------
    path
        The file; bars that are there already are gone on from.
    attrs
        What the bars are, as `read_bars` reads it: instrument, timezone, stamp, prices.

    Raises
    ------
    BarsError
        The file cannot be read, or its bars are others.
    """

    def __init__(self, path: Path, attrs: Mapping[str, str | None]) -> None:
        self.path, self._attrs = path, dict(attrs)
        self._kept = self._read()
        self._batch: list[tuple[dt.datetime, tuple[float, ...]]] = []
        require_writable(path)

    @property
    def newest(self) -> dt.datetime | None:
        """The newest bar's timestamp, in UTC."""
        if self._batch:
            return self._batch[-1][0]
        return self._kept.index[-1].to_pydatetime().replace(tzinfo=dt.UTC) if len(self) else None

    def __len__(self) -> int:
        return len(self._kept) + len(self._batch)

    def add(self, when: dt.datetime, bar: VenueBar) -> None:
        """Take a finished bar; one that is not newer than those kept is passed over."""
        # The history brings again what is there already, and a corrected bar is an old one.
        if self.newest is None or when > self.newest:
            self._batch.append((when, (bar.open, bar.high, bar.low, bar.close, bar.volume)))

    def save_if_due(self) -> None:
        """Write what has come, once it is enough; to be called where nobody waits."""
        # The whole file is written each time: the longer it is, the more bars must be worth it.
        if len(self._batch) >= min(LARGEST_BATCH, 1 + len(self._kept) // 1000):
            self.save()

    def save(self) -> None:
        """Write what has come."""
        if not self._batch:
            return
        times = pd.DatetimeIndex(
            [when.replace(tzinfo=None) for when, _ in self._batch], name="date"
        )
        values = [values for _, values in self._batch]
        new = pd.DataFrame(values, times.as_unit("ns"), list(COLUMNS))
        kept = pd.concat([self._kept, new]) if len(self._kept) else new
        kept.attrs.update(self._attrs)
        buffer = io.BytesIO()
        kept.to_parquet(buffer)
        write_atomically(self.path, buffer.getvalue())
        self._kept, self._batch = kept, []

    def _read(self) -> pd.DataFrame:
        if not self.path.exists():
            return pd.DataFrame(columns=list(COLUMNS), dtype=float)
        try:
            kept = pd.read_parquet(self.path)
        except (OSError, ValueError, pyarrow.ArrowException) as error:
            raise BarsError(
                f"{self.path} must hold the bars kept so far, got a file that cannot be read "
                f"({str(error).splitlines()[0]}). Move it away: bars are then kept from now on."
            ) from None
        others = [
            f"{name} {kept.attrs.get(name)!r} instead of {value!r}"
            for name, value in self._attrs.items()
            if kept.attrs.get(name) != value
        ]
        if others or list(kept.columns) != list(COLUMNS):
            raise BarsError(
                f"{self.path} must hold bars like those that are traded, got others "
                f"({', '.join(others) or 'other columns'}). Give another folder."
            )
        return kept
