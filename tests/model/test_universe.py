"""Which files make a universe, and which are refused, all at once and by name."""

import pandas as pd
import pytest

from model.cli import BarsOptions, bar_files, is_universe, read_universe
from model.errors import BarsError
from tests.helpers.makers import random_bars


@pytest.fixture
def folder(tmp_path):
    for number, name in enumerate(("b.csv", "a.csv", ".hidden.csv")):
        random_bars(40, seed=number).to_csv(tmp_path / name)
    (tmp_path / "README.md").write_text("about")
    return tmp_path


def read(folder, fits=len, **options):
    universe, left_out = read_universe(BarsOptions(**options), bar_files([folder]), fits)
    assert not left_out
    return universe


def test_a_folder_is_its_files_of_bars_by_name(folder):
    assert [file.name for file in bar_files([folder])] == ["a.csv", "b.csv"]
    assert bar_files([folder / "b.csv", folder])[0] == folder / "b.csv"


def test_one_file_is_no_universe(folder):
    assert not is_universe([]) and not is_universe([folder / "a.csv"])
    assert is_universe([folder]) and is_universe([folder / "a.csv", folder / "b.csv"])


def test_a_folder_without_bars_is_refused(tmp_path):
    with pytest.raises(
        BarsError, match="must hold files of bars, named .csv, .txt, .parquet or the like, got none"
    ):
        bar_files([tmp_path])


def test_the_instruments_are_called_after_their_files(folder):
    universe = read(folder)
    assert list(universe) == ["a", "b"]
    assert [bars.attrs["instrument"] for bars in universe.values()] == ["a", "b"]


def test_all_bad_files_are_refused_together_by_name(folder):
    (folder / "c.csv").write_text("no bars at all")
    (folder / "d.csv").write_text("")

    def long_enough(bars):
        if bars.attrs["instrument"] == "b":
            raise BarsError("b has 40 bars; at least 359 are needed")

    with pytest.raises(BarsError) as refused:
        read(folder, long_enough)
    message = str(refused.value)
    assert message.startswith("the universe of 4 files cannot be used:")
    assert (
        message.count("\n- ") == 3
        and "b.csv: b has 40 bars" in message
        and "c.csv" in message
        and "d.csv" in message
    )


def test_bad_files_are_left_out_on_request_and_named(folder):
    (folder / "c.csv").write_text("no bars at all")
    with pytest.raises(BarsError, match="leave them out with on_faulty='drop'"):
        read(folder)
    files = bar_files([folder])
    universe, [left_out] = read_universe(BarsOptions(), files, len, "drop")
    assert list(universe) == ["a", "b"]
    assert left_out.file == "c.csv" and "c.csv" in left_out.reason


def test_files_of_which_one_would_have_to_be_chosen_are_refused_all_the_same(folder):
    same_bars(folder)
    with pytest.raises(BarsError, match="hold the same prices"):
        read_universe(BarsOptions(), bar_files([folder]), len, "drop")


def test_a_universe_of_bad_files_alone_is_refused(folder):
    for name in ("a.csv", "b.csv"):
        (folder / name).write_text("no bars at all")
    with pytest.raises(BarsError, match="the universe of 2 files cannot be used"):
        read_universe(BarsOptions(), bar_files([folder]), len, "drop")


def same_names(folder):
    (folder / "a.txt").write_bytes((folder / "b.csv").read_bytes())


def same_bars(folder):
    (folder / "z.csv").write_bytes((folder / "b.csv").read_bytes())


def other_interval(folder):
    random_bars(40, seed=9, freq="h").to_csv(folder / "hourly.csv")


@pytest.mark.parametrize(
    "spoil, message",
    [
        (
            same_names,
            "must have different names: all of them are called a. Rename all but one.",
        ),
        (same_bars, "b.csv, z.csv hold the same prices, which would count 2 times. Leave one."),
        (
            other_interval,
            "all files must have bars of the same interval, most have 1 day, "
            "but not hourly.csv (1 hour). Run each",
        ),
    ],
)
def test_files_that_do_not_go_together_are_refused(folder, spoil, message):
    spoil(folder)
    with pytest.raises(BarsError) as refused:
        read(folder)
    assert message in str(refused.value)


@pytest.mark.parametrize("option", ["instrument", "ticker"])
def test_a_name_for_all_is_refused(folder, option):
    with pytest.raises(
        ValueError, match="`instrument` and `ticker` must be left out with several files"
    ):
        read(folder, **{option: "A"})


def test_options_hold_for_every_file(folder):
    universe = read(folder, bars_per_year=200.0)
    assert {bars.attrs["bars_per_year"] for bars in universe.values()} == {200.0}
    assert all(isinstance(bars, pd.DataFrame) for bars in universe.values())
