"""The ledger of trials: each configuration judged on these bars, to tell luck from skill."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from platformdirs import user_data_path

from model.bars.read import digest_bars
from model.files import locked, require_writable, write_atomically

Trial = dict[str, Any]  # a line of the ledger: its key and Sharpe ratio, and what else was noted


class Ledger:
    """One line of JSON per trial, found by its key; a trial that is repeated counts once.

    data: the digest of the bars. Trials on other bars may stand in the same file and do not count;
    one that does not say on which bars it was made counts on all.
    """

    def __init__(self, path: Path, data: str) -> None:
        require_writable(path)  # now, rather than when all is trained
        self.path, self.data = path, data

    def others(self, *keys: str) -> list[float]:
        """Return the Sharpe ratios per bar of all trials on these bars but those with the keys."""
        return [
            trial["sharpe"]
            for trial in self._trials()
            # A line of an older version does not name its bars: it counts, to be on the safe side.
            if trial.get("data", self.data) == self.data and trial["key"] not in keys
        ]

    def enter(self, key: str, sharpe: float, notes: Mapping[str, Any]) -> None:
        """Add a trial, unless it is there; several runs may do so at the same time.

        notes: stand in its line for whoever reads the file.
        """
        require_writable(self.path)
        with locked(self.path.with_name(f".{self.path.name}.lock")):
            # Read within the lock: another run may have added a line since the last time.
            trials = self._trials()
            if any(trial["key"] == key for trial in trials):
                return
            trials.append({"key": key, "data": self.data, "sharpe": sharpe, **notes})
            lines = "".join(json.dumps(trial) + "\n" for trial in trials)
            write_atomically(self.path, lines.encode())

    def _trials(self) -> list[Trial]:
        """Return all trials in the file, none where it is not there yet.

        A line that is no trial raises ValueError: passed over, it would make luck look like skill.
        """
        if not self.path.exists():
            return []
        trials = []
        try:
            for line in self.path.read_text(encoding="utf-8").splitlines():
                trial: Trial = json.loads(line)
                # Python's JSON takes NaN and Infinity, with which nothing can be compared.
                sharpe = float(trial["sharpe"])
                if not math.isfinite(sharpe):
                    raise ValueError(f"a sharpe of {sharpe}")
                trials.append(trial | {"key": trial["key"], "sharpe": sharpe})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(
                f"the ledger {self.path} must hold one line of JSON per trial, "
                f"with its key and sharpe, got {error}. "
                "Repair it, or name another with --ledger."
            ) from error
        return trials


def ledger_of(bars: pd.DataFrame, path: Path | None = None) -> Ledger:
    """Return the ledger of these bars; by default a file of their own in the user's data folder."""
    digest = digest_bars(bars)
    own = user_data_path("backtrader-bilstm") / "trials" / f"{digest[:16]}.jsonl"
    return Ledger(path or own, digest)
