import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest

from backtests.walk_forward.ledger import (
    Ledger,
    LedgerError,
    Subject,
    Trial,
    counted,
    digest_positions,
    digest_weights,
    ledger_path,
    returns_of,
    subject_of,
)

ON = Subject("nasdaq", "1 day", "of these bars")
DATES = pd.date_range("2020-01-01", periods=100, name="decided_at", unit="ns")


def track(seed=1, dates=DATES):
    draw = np.random.default_rng(seed)
    held = draw.integers(-1, 2, len(dates)).astype(np.int8)
    return pd.DataFrame({"position": held, "net_return": draw.normal(size=len(dates))}, dates)


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "trials" / "nasdaq.jsonl", ON)


def enter(ledger, name, sharpe=0.1, dates=DATES, **notes):
    """Enter a trial under its name, by which its positions go too."""
    return ledger.enter(name, Trial(f"held by {name}", sharpe), track(1, dates), notes)


def names(trials):
    return [trial.positions.removeprefix("held by ") for trial in trials]


def test_the_others_are_all_trials_but_this_one(ledger):
    assert all(enter(ledger, name, seed=42) for name in "abc")
    assert names(ledger.others("b")) == ["a", "c"]
    assert names(ledger.others("new")) == ["a", "b", "c"]


def test_a_line_leads_to_positions_and_returns_beside_the_ledger(ledger, tmp_path):
    enter(ledger, "a", seed=42)
    line = json.loads(ledger.path.read_text())
    assert line["file"] == "nasdaq.jsonl-positions/nasdaq-1-day-held by a.parquet"
    assert [line[name] for name in ("instrument", "interval", "data", "seed")] == [
        *ON[:3],
        42,
    ]
    [trial] = ledger.others()
    pd.testing.assert_series_equal(returns_of(trial), track()["net_return"], check_freq=False)
    assert pd.read_parquet(ledger.path.parent / line["file"]).equals(track())
    # Both go where the user moves them.
    shutil.move(tmp_path / "trials", tmp_path / "elsewhere")
    [moved] = Ledger(tmp_path / "elsewhere" / "nasdaq.jsonl", ON).others()
    assert moved.file != trial.file and returns_of(moved).equals(returns_of(trial))


def test_a_link_to_a_ledger_is_that_ledger(ledger, tmp_path):
    enter(ledger, "a")
    (tmp_path / "link").symlink_to(ledger.path)
    linked = Ledger(tmp_path / "link", ON)
    assert enter(linked, "b") and linked.others() == ledger.others()
    assert [returns_of(trial).equals(track()["net_return"]) for trial in linked.others()] == [
        True,
        True,
    ]


def test_a_repeat_counts_once(ledger):
    assert [enter(ledger, "a") for _ in range(2)] == [True, False]
    before = ledger.path.read_text()
    assert not ledger.enter("at other costs", Trial("held by a", -0.3), track(2), {})
    assert ledger.path.read_text() == before and len(list(ledger.folder.iterdir())) == 1
    assert returns_of(ledger.others()[0]).equals(track()["net_return"])


@pytest.mark.parametrize("change", [{"instrument": "dax"}, {"interval": "1 hour"}])
def test_trials_on_another_instrument_or_interval_do_not_count(ledger, change):
    """A universe with --ledger FILE has one file for all its markets."""
    trial = Trial("held", 0.1)
    other = Ledger(ledger.path, ON._replace(**change))
    assert other.enter("there", trial, track(2), {})
    assert ledger.enter("here", trial, track(1), {})
    for one, seed in ((other, 2), (ledger, 1)):
        [found] = one.others()
        assert returns_of(found).equals(track(seed)["net_return"])


def test_a_new_day_of_bars_does_not_empty_the_ledger(ledger):
    enter(ledger, "a")
    tomorrow = Ledger(ledger.path, ON._replace(data="and a day"))
    assert names(tomorrow.others()) == ["a"]
    assert counted(tomorrow.others(), DATES + pd.Timedelta(days=1), ()).sharpes == (0.1,)


@pytest.mark.parametrize("days, counts", [(0, True), (50, True), (-50, True), (51, False)])
def test_a_trial_counts_where_half_of_the_runs_own_dates_are_among_its_own(ledger, days, counts):
    enter(ledger, "a")
    found = counted(ledger.others(), DATES + pd.Timedelta(days=days), ())
    assert (len(found.sharpes), len(found.returns)) == (counts, counts)


def test_half_is_of_the_runs_own_dates_not_of_the_trials(ledger):
    enter(ledger, "long")
    enter(ledger, "short", 0.2, DATES[:20])
    assert counted(ledger.others(), DATES[:20], ()).sharpes == (0.1, 0.2)
    assert counted(ledger.others(), DATES[:40], ()).sharpes == (0.1, 0.2)
    assert counted(ledger.others(), DATES[:41], ()).sharpes == (0.1,)


def test_what_the_run_repeats_is_not_tried_beside_it(ledger):
    enter(ledger, "a")
    enter(ledger, "b", 0.2)
    found = counted(ledger.others(), DATES.as_unit("s"), {"held by a"})
    assert found.sharpes == (0.2,)
    assert found.returns[0].tolist() == track()["net_return"].tolist()


def test_a_line_of_an_older_version_counts_without_returns_and_stays_as_it_is(ledger):
    older = (
        '{"key":  "a", "sharpe": 0.2}\r\n'
        '{"key": "b", "data": "of these bars", "positions": "held", "sharpe": 0.3}\n'
        '{"key": "c", "data": "of others", "positions": "held", "sharpe": 0.4}'
    )
    ledger.path.write_bytes(older.encode())
    assert ledger.others() == [Trial("", 0.2), Trial("held", 0.3)]
    assert names(ledger.others("a")) == ["held"]
    assert counted(ledger.others(), DATES, ()) == ((0.2, 0.3), ())
    assert counted(ledger.others(), DATES, {"held"}).sharpes == (0.2,)
    # Made again, it has a file, and counts once.
    assert ledger.enter("b", Trial("held", 0.3), track(), {})
    assert ledger.path.read_bytes().startswith(f"{older}\n{{".encode())
    found = counted(ledger.others(), DATES, ())
    assert found.sharpes == (0.2, 0.3) and len(found.returns) == 1


def test_lines_that_an_editor_ended_otherwise_stay_as_they_are(ledger):
    edited = b'{"key": "a", "sharpe": 0.2}\r\n'
    ledger.path.write_bytes(edited)
    enter(ledger, "b")
    assert ledger.path.read_bytes().startswith(edited + b"{") and len(ledger.others()) == 2


def test_the_ledger_that_an_older_version_had_for_these_bars_is_read_and_not_written(
    bars, tmp_path
):
    on = subject_of(bars)
    older = tmp_path / f"{on.data[:16]}.jsonl"
    line = {"key": "a", "data": on.data, "positions": "held", "sharpe": 0.2}
    older.write_text(json.dumps(line))
    ledger = Ledger(tmp_path / "nasdaq.jsonl", on)
    enter(ledger, "b")
    assert names(ledger.others()) == ["held", "b"] and json.loads(older.read_text()) == line
    assert names(Ledger(tmp_path / "nasdaq.jsonl", on._replace(data="more")).others()) == ["b"]


def test_before_the_first_trial_there_are_no_others(ledger):
    assert ledger.others("a") == []


@pytest.mark.parametrize(
    "content",
    [
        "not json",
        "[1]",
        "{}",
        '{"key": "a"}',
        '{"key": "a", "sharpe": null}',
        '{"key": "a", "sharpe": NaN}',
        '{"key": "a", "sharpe": Infinity}',
        '{"key": "a", "sharpe": 1, "file": "a.parquet"}',
        json.dumps({"key": "a", "sharpe": 1, **ON._asdict(), "positions": "", "file": 2}),
        '{"key": ["a"], "sharpe": 1}',
        '{"key": "a", "sharpe": 1, "date": 5}',
        '{"key": "a", "sharpe": 1, "bars_per_year": "many"}',
        '{"key": "a", "sharpe": 1, "bars_per_year": -252}',
        '{"key": "a", "sharpe": 1, "training": "fast"}',
    ],
)
def test_a_damaged_ledger_is_refused_not_overwritten(ledger, content):
    enter(ledger, "a")
    ledger.path.write_text(f"{content}\n")
    with pytest.raises(
        LedgerError,
        match=re.escape(f"the ledger {ledger.path} must hold one line of JSON per trial"),
    ) as refused:
        enter(ledger, "b")
    assert ledger.path.read_text() == f"{content}\n" and refused.value.exit_code == 3


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda path: path.unlink(), "got No such file or directory"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "got other bytes than were"),
        (lambda path: track(2).to_parquet(path), "got other bytes than were"),
    ],
    ids=["missing", "cut", "of another trial"],
)
def test_a_file_of_positions_that_is_missing_or_damaged_is_named(ledger, damage, words):
    """Never are there fewer trials without a word."""
    enter(ledger, "a")
    [trial] = ledger.others()
    damage(ledger.folder / "nasdaq-1-day-held by a.parquet")
    with pytest.raises(LedgerError, match=re.escape(f"{trial.file} must hold")) as refused:
        counted([trial], DATES, ())
    assert words in str(refused.value)
    # As the message advises.
    line = json.loads(ledger.path.read_text())
    del line["file"]
    ledger.path.write_text(json.dumps(line))
    assert counted(ledger.others(), DATES, ()) == ((0.1,), ())


def test_no_line_leads_nowhere_whenever_the_process_dies(ledger, monkeypatch):
    """The file of positions is whole before the line is there."""
    from backtests.walk_forward import ledger as module

    def dying(path, content):
        if path == ledger.path:
            raise KeyboardInterrupt
        write(path, content)

    write = module.write_atomically
    monkeypatch.setattr(module, "write_atomically", dying)
    with pytest.raises(KeyboardInterrupt):
        enter(ledger, "a")
    monkeypatch.undo()
    assert [path.suffix for path in ledger.folder.iterdir()] == [".parquet"]
    (ledger.folder / ".nasdaq-1-day.parquet.1.2.tmp").touch()
    assert not ledger.path.exists() and enter(ledger, "a")
    assert [path.name for path in ledger.folder.iterdir()] == ["nasdaq-1-day-held by a.parquet"]


def test_each_instrument_and_interval_has_its_own_ledger(bars):
    ours, longer = (ledger_path(subject_of(part)) for part in (bars[:-1], bars))
    hourly = bars.set_axis(pd.date_range("2020-01-01", periods=len(bars), freq="h"))
    others = [ledger_path(subject_of(part)) for part in (hourly, named(bars, "EUR/USD"))]
    assert ours == longer and ours.name == "bars-1-day.jsonl"
    assert [path.name for path in others] == ["bars-1-hour.jsonl", "EUR-USD-1-day.jsonl"]
    long = ledger_path(subject_of(named(bars, "\N{GRINNING FACE}x" * 300)))
    assert len(long.name.encode()) < 200 and long.parent == ours.parent


def test_a_trial_is_its_dated_positions_on_an_instrument_and_interval(bars):
    """Neither prices nor sizes are part of it."""
    dates, held = pd.DatetimeIndex(bars.index[:3]), np.array([0.0, 1.0, -1.0])
    trial = digest_positions(bars, dates, held)
    assert digest_positions(bars * 2, dates, 5 * held) == trial
    hourly = bars.set_axis(pd.date_range("2020-01-01", periods=len(bars), freq="h"))
    others = [
        (bars, dates, -held),
        (bars, dates + pd.Timedelta(days=1), held),
        (hourly, dates, held),
        (named(bars, "another"), dates, held),
    ]
    assert len({trial, *(digest_positions(*other) for other in others)}) == 5


UNIVERSE = Subject("several instruments", "1 day", "of these", ("a", "b", "c", "d"))


@pytest.mark.parametrize(
    "names, counts",
    [("abcd", 1), ("ab", 1), ("abxy", 1), ("axyz", 0), ("abcdefgh", 1), ("", 0)],
)
def test_a_trial_on_a_universe_counts_where_it_has_half_of_the_runs_instruments(
    tmp_path, names, counts
):
    tried = Ledger(tmp_path / "trials.jsonl", UNIVERSE._replace(names=tuple(names)))
    assert enter(tried, "there")
    assert len(Ledger(tried.path, UNIVERSE).others()) == counts


def test_it_is_half_of_the_runs_own_instruments(tmp_path):
    tried = Ledger(tmp_path / "trials.jsonl", UNIVERSE)
    assert enter(tried, "there")
    for names, counts in (("abcdefgh", 1), ("abcdefghi", 0)):
        assert len(Ledger(tried.path, UNIVERSE._replace(names=tuple(names))).others()) == counts


def test_a_universe_has_a_ledger_of_its_own_for_each_interval(bars):
    universe = {"b": bars, "a": bars * 2}
    on = subject_of(universe)
    assert ledger_path(on).name == "several-instruments-1-day.jsonl" and on.names == ("a", "b")
    changed = subject_of(universe | {"a": bars})
    assert on == subject_of(dict(sorted(universe.items()))) and changed.data != on.data


def test_lines_on_a_single_instrument_have_no_names(ledger):
    enter(ledger, "a")
    assert "names" not in json.loads(ledger.path.read_text())


def test_a_trial_on_a_universe_is_its_dated_weights_of_what_is_ever_held():
    weights = np.array([[0.5, -0.5, 0.0], [0.0, 0.0, 0.0]])
    trial = digest_weights("abc", "1 day", DATES[:2], weights)
    rounded = digest_weights("abc", "1 day", DATES[:2], weights + 1e-12 * (weights != 0))
    # What is never held is no part of it, nor is the sign of nothing.
    signed = np.where(weights == 0, -0.0, weights)[:, :2]
    without = digest_weights("ab", "1 day", DATES[:2], signed)
    assert trial == rounded == without
    others = [
        digest_weights("abd", "1 day", DATES[:2], weights[:, [0, 2, 1]]),
        digest_weights("abc", "1 hour", DATES[:2], weights),
        digest_weights("abc", "1 day", DATES[1:3], weights),
        digest_weights("abc", "1 day", DATES[:2], weights / 2),
    ]
    assert len({trial, *others}) == 5


def named(bars, instrument):
    copy = bars.copy()
    copy.attrs["instrument"] = instrument
    return copy


def test_a_ledger_is_shown_in_a_line_and_in_a_notebook_by_its_trials(ledger):
    enter(ledger, "a", sharpe=0.125, date="2026-01-02")
    assert repr(ledger) == f"Ledger(1 trial on nasdaq, 1 day, in {ledger.path})"
    shown = ledger._repr_html_()
    assert "2026-01-02" in shown and "0.125" in shown and repr(ledger) in shown


def test_the_ledger_of_bars_is_theirs(bars, tmp_path, monkeypatch):
    own = Ledger.of(bars, tmp_path / "trials")
    assert own.path == tmp_path / "trials" and own.on == subject_of(bars)
    monkeypatch.setattr(
        "backtests.walk_forward.ledger.ledgers_folder", lambda: tmp_path / "data folder"
    )
    assert Ledger.of(bars).path == ledger_path(subject_of(bars))
