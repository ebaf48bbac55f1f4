"""The ledger of trials: each series of positions judged on these bars, to tell luck from skill."""

import hashlib
import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from platformdirs import user_data_path

from model.bars.intervals import bar_interval
from model.bars.read import digest_bars
from model.files import locked, require_writable, write_atomically

Line = dict[str, Any]  # of the ledger: a trial, and what else was noted


class Trial(NamedTuple):
    """Something that was tried: its Sharpe ratio per bar, and what tells it from other trials.

    positions: of `digest_positions`, "" in a line of an older version, which knew but the settings.
    """

    positions: str
    sharpe: float


def digest_positions(
    bars: pd.DataFrame, decided_at: pd.DatetimeIndex, held: NDArray[np.float64]
) -> str:
    """Return the digest of dated positions on an instrument and interval: what a trial is.

    Costs and cash are no part of it: whoever tries the same positions at other costs has looked for
    an edge but once.

    bars: name the instrument and have the interval. held: (n,), -1, 0 or 1 after each decision.
    """
    on = (bars.attrs.get("instrument"), str(bar_interval(pd.DatetimeIndex(bars.index))))
    digest = hashlib.sha256(json.dumps(on).encode())
    digest.update(decided_at.as_unit("ns").asi8.astype("<i8").tobytes())
    digest.update(np.sign(held).astype("<i1").tobytes())
    return digest.hexdigest()


class Ledger:
    """One line of JSON per trial; a trial that is repeated counts once.

    data: the digest of the bars. Trials on other bars may stand in the same file and do not count;
    one that does not say on which bars it was made counts on all.
    """

    def __init__(self, path: Path, data: str) -> None:
        require_writable(path)  # now, rather than when all is trained
        self.path, self.data = path, data

    def others(self, *keys: str) -> list[Trial]:
        """Return all trials on these bars but those of the settings with these keys.

        Which of them have the positions of a run shows only when its positions are known.
        """
        return [
            Trial(line.get("positions", ""), line["sharpe"])
            for line in self._lines()
            # A line of an older version does not name its bars: it counts, to be on the safe side.
            if line.get("data", self.data) == self.data and line["key"] not in keys
        ]

    def enter(self, key: str, trial: Trial, notes: Mapping[str, Any]) -> bool:
        """Add a trial, unless it is there; several runs may do so at the same time.

        key: the digest of its settings. notes: stand in its line for whoever reads the file.

        Return whether it was added.
        """
        require_writable(self.path)
        with locked(self.path.with_name(f".{self.path.name}.lock")):
            # Read within the lock: another run may have added a line since the last time.
            lines = self._lines()
            if any(
                line["key"] == key
                or (line.get("data"), line.get("positions")) == (self.data, trial.positions)
                for line in lines
            ):
                return False
            lines.append({"key": key, "data": self.data, **trial._asdict(), **notes})
            content = "".join(json.dumps(line) + "\n" for line in lines)
            write_atomically(self.path, content.encode())
            return True

    def _lines(self) -> list[Line]:
        """Return all trials in the file, none where it is not there yet.

        A line that is no trial raises ValueError: passed over, it would make luck look like skill.
        """
        if not self.path.exists():
            return []
        lines = []
        try:
            for text in self.path.read_text(encoding="utf-8").splitlines():
                line: Line = json.loads(text)
                # Python's JSON takes NaN and Infinity, with which nothing can be compared.
                sharpe = float(line["sharpe"])
                if not math.isfinite(sharpe):
                    raise ValueError(f"a sharpe of {sharpe}")
                lines.append(line | {"key": line["key"], "sharpe": sharpe})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(
                f"the ledger {self.path} must hold one line of JSON per trial, "
                f"with its key and sharpe, got {error}. "
                "Repair it, or name another with --ledger."
            ) from error
        return lines


def sharpes_but(trials: Sequence[Trial], positions: Collection[str]) -> tuple[float, ...]:
    """Return the Sharpe ratios of the trials that have none of these positions."""
    return tuple(trial.sharpe for trial in trials if trial.positions not in positions)


def ledger_of(bars: pd.DataFrame, path: Path | None = None) -> Ledger:
    """Return the ledger of these bars; by default a file of their own in the user's data folder."""
    digest = digest_bars(bars)
    own = user_data_path("backtrader-bilstm") / "trials" / f"{digest[:16]}.jsonl"
    return Ledger(path or own, digest)
