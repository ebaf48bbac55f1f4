"""A run's folder while it works.

Who holds it, which folds are finished, and what was known when it began.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from backtests.walk_forward.folds import Fold, FoldModel
from backtests.walk_forward.thresholds import Choice
from model.checkpoint.checkpoint import Checkpoint
from model.errors import CheckpointError
from model.files import locked, require_writable, write_atomically

CHECKPOINTS, STATE, MEMBERS, LOCK = "checkpoints", ".state", "members", ".lock"
START = "start.json"


class FolderInUse(RuntimeError):
    """Another run writes into the folder."""

    exit_code = 7


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold the folder against other runs; FolderInUse at once where one holds it.

    The lock ends with its process.
    """
    require_writable(folder / "summary.json")
    refusal = FolderInUse(
        f"{folder} must not be used by two runs at once, and another one is at work there. "
        "Wait for it, or give another folder with --out."
    )
    with locked(
        folder / LOCK,
        refusal,
        folder,
        folder / CHECKPOINTS,
        folder / STATE,
        folder / STATE / MEMBERS,
    ):
        yield


class RunState:
    """The finished folds of a run, each found again by its key.

    The digest of all that decides its model.

    A fold counts as finished once its record is written, which happens after its checkpoint is.
    Records of other settings, and checkpoints that are damaged or were replaced, count as nothing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkpoints = folder / CHECKPOINTS
        self._records = folder / STATE
        for place in (self.checkpoints, self._records):
            require_writable(place / "probe")

    def forget(self) -> None:
        """Start over: drop the records of all finished folds, and what was known at the start."""
        for record in self._records.glob("*.json"):
            record.unlink()

    def frozen(self, key: str, facts: Any) -> Any:
        """Return the facts that the run with this key began with.

        Those given, or those kept when it was interrupted.
        """
        path = self._records / START
        known = _read(path)
        if known and known["key"] == key:
            return known["facts"]
        _write(path, {"key": key, "facts": facts})
        return facts

    def finished(self, fold: Fold, key: str) -> FoldModel | None:
        """Return the fold's model if an earlier run finished it under the same key."""
        record = _read(self._record(fold))
        if not record or record["key"] != key:
            return None
        model = FoldModel(
            fold,
            None,
            Choice(**record["choice"]),
            record["reason"],
            record["importance"],
            record["machine"],
        )
        if record["digest"] is None:  # finished without a checkpoint
            return model
        try:
            checkpoint = Checkpoint.load(self.checkpoints / model.name)
        except CheckpointError:
            return None
        return (
            replace(model, checkpoint=checkpoint) if checkpoint.digest == record["digest"] else None
        )

    def keep(self, model: FoldModel, key: str) -> None:
        """Save a fold's checkpoint, then the record that makes it count."""
        if model.checkpoint:
            model.checkpoint.save(self.checkpoints / model.name)
        digest = model.checkpoint.digest if model.checkpoint else None
        _write(
            self._record(model.fold),
            {
                "key": key,
                "digest": digest,
                "reason": model.reason,
                "choice": asdict(model.choice),
                "importance": dict(model.importance),
                "machine": dict(model.machine),
            },
        )

    def require_own(self) -> None:
        """Raise ValueError for a checkpoint that no walk-forward wrote.

        Whatever lies there would be traded.
        """
        if foreign := sorted(
            {path.name for path in self.checkpoints.glob("*.ckpt")}
            - {path.name for path in self._own()}
        ):
            raise ValueError(
                f"{self.checkpoints} must hold this run's checkpoints alone, got {', '.join(foreign)}. "
                "Move what is not of this run elsewhere, or choose another folder with --out."
            )

    def sweep(self, models: Sequence[FoldModel]) -> None:
        """Remove the checkpoints and records of folds that these models do not have, left by an
        earlier run.
        """
        kept = {model.name for model in models if model.checkpoint}
        recorded = {self._record(model.fold).name for model in models} | {START}
        for path in [*self._own(), *self._records.glob("*.json")]:
            if path.name not in kept | recorded:
                path.unlink()

    def _own(self) -> list[Path]:
        return list(self.checkpoints.glob("fold-*.ckpt"))

    def _record(self, fold: Fold) -> Path:
        return self._records / f"fold-{fold.number:02d}.json"


class MemberStore:
    """The members trained for folds that have several, each by the digest of all that decides it.

    So an ensemble takes those that a comparison trained before, and one more seed trains but one
    more.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / STATE / MEMBERS

    def find(self, key: str) -> Checkpoint | None:
        """Return a member; None where it was not trained, or its file is damaged."""
        try:
            return Checkpoint.load(self._path(key))
        except CheckpointError:
            return None

    def has(self, key: str) -> bool:
        """Return whether there is a sound file of it."""
        return self._path(key).exists() and self.find(key) is not None

    def all_of(self, keys: Sequence[str]) -> list[Checkpoint]:
        """Return the members with these keys if all are there, else none."""
        found = [checkpoint for key in keys if (checkpoint := self.find(key))]
        return found if len(found) == len(keys) else []

    def keep_once(self, key: str, checkpoint: Checkpoint) -> None:
        """Save a member, unless it is there."""
        if not self.has(key):
            require_writable(self._path(key))
            checkpoint.save(self._path(key))

    def forget(self) -> None:
        """Drop all members."""
        for path in self._folder.glob("*.ckpt"):
            path.unlink()

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.ckpt"


def _read(path: Path) -> Any:
    """Return a record; None where there is none that can be read."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def _write(path: Path, record: Any) -> None:
    write_atomically(path, (json.dumps(record, indent=1) + "\n").encode())
