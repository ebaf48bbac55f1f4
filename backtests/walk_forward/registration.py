"""Registration: what is to be judged, written down before any test bar is touched."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backtests.walk_forward.ledger import lines_of
from backtests.walk_forward.store import SUMMARY
from model.bars.faults import count
from model.files import write_atomically

REGISTRATION = "registration.json"


@dataclass(frozen=True, kw_only=True)
class Registration:
    """What a run committed itself to before it traded its test blocks.

    Parameters
    ----------
    at
        When, in UTC.
    keys
        By architecture, the digest of all that decides the result: bars, settings, code, libraries.
    data
        What the bars are, their digest among it.
    settings
        Of the run.
    code
        The digest of the code that trains and trades.
    ledger
        The SHA-256 of the ledger as it was, None where there was none.
    trials
        How many trials on this instrument and interval stood in it, of these settings as well.
    judged
        Whether one of them is of just these bars, settings and code: then this came too late.
    """

    at: str
    keys: dict[str, str]
    # Any, as the schema of the files is made of it, which knows no object.
    data: dict[str, Any]
    settings: dict[str, Any]
    code: str
    ledger: str | None
    trials: int
    judged: bool = False

    @property
    def sentence(self) -> str:
        """What the registration says, for terminal and report."""
        trials = f"with {count(self.trials, 'trial')} in the ledger"
        if self.judged:
            return f"registered on {self.at}, {trials}: one of them is this very run, judged before"
        return f"registered on {self.at}, before its test bars were touched, {trials}"


NOT_REGISTERED = "not registered before its test bars were touched (--register)"


def register(
    folder: Path,
    *,
    keys: Mapping[str, str],
    data: Mapping[str, object],
    settings: Mapping[str, object],
    code: str,
    ledger: Path,
    trials: int,
) -> Registration:
    """Write the registration of a run into its folder; one of the same keys stays as it is.

    Raises ValueError where the folder has results, or the registration of another run.
    """
    found = registered(folder, keys)
    if found is not None:
        return found
    for name, what in (
        (SUMMARY, "results"),
        ("pooled.json", "results"),
        ("folds.csv", "results"),  # the first of the files to be written
        (REGISTRATION, "the registration of another run"),
    ):
        if (folder / name).exists():
            raise ValueError(
                f"`register` must come before the results, but {folder} has {what}. Give another "
                "folder with --out."
            )
    made = Registration(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        keys=dict(keys),
        data=dict(data),
        # As JSON has them, so that what is read again is equal.
        settings=json.loads(json.dumps(settings)),
        code=code,
        ledger=hashlib.sha256(ledger.read_bytes()).hexdigest() if ledger.exists() else None,
        trials=trials,
        judged=any(line["key"] in keys.values() for line in lines_of(ledger)),
    )
    text = json.dumps(asdict(made), indent=2, allow_nan=False) + "\n"
    write_atomically(folder / REGISTRATION, text.encode())
    return made


def registered(folder: Path, keys: Mapping[str, str]) -> Registration | None:
    """Return the registration in a folder, None where there is none or it is of other keys.

    Raises ValueError for a file that is no registration.
    """
    path = folder / REGISTRATION
    try:
        found = Registration(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path} must be the registration of a run, got {error}. Give another folder with "
            "--out, or remove it."
        ) from error
    return found if found.keys == dict(keys) else None
