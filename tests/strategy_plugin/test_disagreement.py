"""How far members disagree: a line beside the probability and a filter of openings."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.features.table import FeatureEngineer
from strategy_plugin import SignalQuality, TradingWarning
from strategy_plugin.replaying import replay
from tests.helpers.hosts import feed, host, traded
from tests.helpers.live import live, ticks
from tests.helpers.makers import random_bars, random_checkpoint

BARS = random_bars(300)
TOGETHER = random_checkpoint(BARS, members=("bilstm", "transformer"))
DISAGREEMENT = TOGETHER.forecast(FeatureEngineer().transform(BARS).to_numpy()).disagreement
LIMIT = float(np.median(DISAGREEMENT)) + 1e-4
RULES = {"enter": 0.5, "exit": 0.5, "allow_short": True, "in_sample": "trade"}
CLOCKS: dict[str, Callable[[], Any]] = {
    "once": lambda: host(feed(BARS)),
    "next": lambda: host(feed(BARS), runonce=False),
    "live": lambda: host(live(["LIVE", *ticks(BARS)], "data")),
}
Entry = dict[str, Any]


@pytest.fixture
def path(tmp_path: Path) -> str:
    TOGETHER.save(tmp_path / "together.ckpt")
    return str(tmp_path / "together.ckpt")


def journal_of(clock: str, path: str, file: Path, **params: Any) -> list[Entry]:
    traded(CLOCKS[clock](), checkpoint=path, journal=str(file), **RULES | params)
    return [json.loads(line) for line in file.read_text().splitlines()][1:]


@pytest.mark.parametrize("clock", CLOCKS)
def test_the_line_is_that_of_the_checkpoint_in_every_clock(
    path: str, tmp_path: Path, clock: str
) -> None:
    entries = journal_of(clock, path, tmp_path / "journal")
    assert all(entry["disagreement"] is None for entry in entries[:149])
    np.testing.assert_allclose(
        [entry["disagreement"] for entry in entries[149:]], DISAGREEMENT, atol=1e-6
    )


@pytest.mark.parametrize("clock", CLOCKS)
def test_nothing_is_opened_while_the_members_disagree_and_all_is_closed(
    path: str, tmp_path: Path, clock: str
) -> None:
    entries = journal_of(clock, path, tmp_path / "journal", max_disagreement=LIMIT)[149:]
    refused = [entry for entry in entries if entry["reason"] == "members disagree"]
    assert len(refused) > 10 and all(
        entry["disagreement"] > LIMIT and entry["target"] == 0 for entry in refused
    )
    assert any(entry["held"] and entry["aim"] == 0 for entry in refused), (
        "a close is always allowed"
    )
    assert all(
        entry["target"] in (0, entry["held"]) for entry in entries if entry["disagreement"] > LIMIT
    )
    assert any(
        entry["target"] not in (0, entry["held"])
        for entry in entries
        if entry["disagreement"] <= LIMIT
    )


@pytest.mark.parametrize("clock", CLOCKS)
def test_the_journal_comes_out_again_with_the_disagreement(
    path: str, tmp_path: Path, clock: str
) -> None:
    journal_of(clock, path, tmp_path / "journal", max_disagreement=LIMIT)
    assert replay(str(tmp_path / "journal")) == (300, [])


def test_the_journal_does_not_pass_with_another_disagreement(path: str, tmp_path: Path) -> None:
    journal_of("once", path, tmp_path / "journal")
    lines = (tmp_path / "journal").read_text().splitlines()
    last = json.loads(lines[-1])
    (tmp_path / "journal").write_text(
        "\n".join([*lines[:-1], json.dumps(last | {"disagreement": 0.0})])
    )
    assert "disagreement was 0.0, is 0." in replay(str(tmp_path / "journal")).differences[0]


def test_the_analyzer_counts_what_was_not_opened(path: str) -> None:
    cerebro = host(feed(BARS))
    cerebro.addanalyzer(SignalQuality, _name="quality")
    strategy = traded(cerebro, checkpoint=path, max_disagreement=LIMIT, **RULES)
    counted = strategy.analyzers.quality.get_analysis()["data"]["refused"]["members disagree"]
    assert counted == strategy.refusals()["data"]["members disagree"] > 10


def test_without_a_limit_nothing_is_refused(path: str) -> None:
    assert (
        "members disagree"
        not in traded(CLOCKS["once"](), checkpoint=path, **RULES).refusals()["data"]
    )


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"max_disagreement": -0.1},
            "`max_disagreement` must be a number from 0 or None, got -0.1",
        ),
        (
            {"max_disagreement": float("nan")},
            "`max_disagreement` must be a number from 0 or None, got nan",
        ),
        (
            {"max_disagreement": 0.1, "checkpoint": ""},
            "`max_disagreement` must be None where `checkpoint` is empty",
        ),
    ],
)
def test_a_limit_that_cannot_be_is_refused(path: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        traded(CLOCKS["once"](), **{"checkpoint": path} | RULES | params)


def test_a_limit_under_one_member_is_refused(tmp_path: Path) -> None:
    random_checkpoint(BARS).save(tmp_path / "alone.ckpt")
    with pytest.raises(
        ValueError,
        match="`max_disagreement` does nothing under .*alone.ckpt, of one member .* Leave it out",
    ):
        traded(
            CLOCKS["once"](),
            checkpoint=str(tmp_path / "alone.ckpt"),
            max_disagreement=LIMIT,
            **RULES,
        )


FOLDER_RULES = RULES | {"in_sample": "refuse"}  # of a folder none decides on bars it has seen


@pytest.mark.parametrize("others", [(), ("bilstm", "transformer")], ids=["alone", "mixed"])
def test_a_limit_is_warned_of_where_only_a_coming_checkpoint_may_use_it(
    tmp_path: Path, others: tuple[str, ...]
) -> None:
    random_checkpoint(BARS, BARS.index[170]).save(tmp_path / "alone.ckpt")
    if others:
        random_checkpoint(BARS, BARS.index[220], members=others).save(tmp_path / "both.ckpt")
    with pytest.warns(TradingWarning, match="does nothing under .*alone.ckpt, of one") as warned:
        traded(CLOCKS["once"](), checkpoint=str(tmp_path), max_disagreement=LIMIT, **FOLDER_RULES)
    assert len(warned) == 1


def arriving(folder: Path, members: tuple[str, ...]) -> Any:
    """A live feed during which a checkpoint of these members is dropped into the folder."""
    random_checkpoint(BARS, BARS.index[100], members=("bilstm", "transformer")).save(
        folder / "a.ckpt"
    )
    late = random_checkpoint(BARS, BARS.index[190], seed=4, members=members)
    bars = ticks(BARS)
    drop = [lambda: late.save(folder / "late.ckpt")]
    return host(live(["LIVE", *bars[:200], *drop, *bars[200:]], "data"))


def test_a_checkpoint_of_one_member_that_comes_later_is_warned_of_beside_a_limit(
    tmp_path: Path,
) -> None:
    with pytest.warns(
        TradingWarning, match="`max_disagreement` does nothing under .*late.ckpt, of one member"
    ) as warned:
        strategy = traded(
            arriving(tmp_path, ("bilstm",)),
            checkpoint=str(tmp_path),
            max_disagreement=LIMIT,
            **FOLDER_RULES,
        )
    schedule = strategy.traded[0].signal.indicator.schedule
    assert sum("does nothing" in str(one.message) for one in warned) == 1
    assert len(schedule.checkpoints) == 2


def test_a_checkpoint_of_several_members_that_comes_later_is_not_warned_of(tmp_path: Path) -> None:
    strategy = traded(
        arriving(tmp_path, ("bilstm", "bilstm")),
        checkpoint=str(tmp_path),
        max_disagreement=LIMIT,
        **FOLDER_RULES,
    )
    assert len(strategy.traded[0].signal.indicator.schedule.checkpoints) == 2
