"""The bars that a command is given: by its flags, read and described, or refused with a remedy."""

import shlex
from pathlib import Path
from typing import Annotated

import pandas as pd
import pytest
from cyclopts import App, Parameter

from model.bars.intervals import yearly_bars
from model.cli import BarsOptions, describe_bars, run
from tests.helpers.bar_files import DAILY, changed, csv_text, dated, market, saved, spelt


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (BarsOptions(), "nasdaq"),
        (BarsOptions(data=Path("x/eurusd.csv.gz")), "eurusd"),
        (BarsOptions(data=Path("x.csv"), instrument="EUR"), "EUR"),
    ],
)
def test_the_instrument_is_named_by_the_flag_or_the_file(options: BarsOptions, name: str) -> None:
    assert options.instrument_name == name


def test_without_a_file_the_bars_are_the_sample() -> None:
    assert len(BarsOptions().read()) == 5031


def test_the_options_reach_the_reader_of_bars(tmp_path: Path, bars: pd.DataFrame) -> None:
    bars.to_csv(tmp_path / "mine.csv")
    read = BarsOptions(data=tmp_path / "mine.csv", stamp="close").read()
    assert read.attrs["instrument"] == "mine"
    assert read.attrs["stamp"] == "close"
    pd.testing.assert_frame_equal(read, bars, check_freq=False, check_index_type=False)


TWO = pd.concat([DAILY.assign(symbol="AAA"), DAILY.assign(symbol="BBB")])
REMEDIES = {
    "ticker": (csv_text(TWO), "--ticker AAA"),
    "columns": (
        csv_text(DAILY.rename(columns={"close": "Clos Value"})),
        "'--columns.Clos Value' close",
    ),
    "columns with a point": (
        csv_text(DAILY.rename(columns={"close": "cl.ose"})),
        """--columns '{"cl.ose": "close"}'""",
    ),
    "date_format": (
        csv_text(
            dated(
                market(pd.date_range("2015-01-01", periods=288, freq="h"), 100.0, 0.01, 2),
                "%m/%d/%Y %H:%M",
            )
        ),
        "--date-format '%d/%m/%Y %H:%M'",
    ),
    "decimal": (
        csv_text(spelt(DAILY, lambda price: f"{price / 10:.3f}".replace(".", ",")), sep=";"),
        "--decimal ,",
    ),
    "on_missing": (csv_text(changed(DAILY, 5, close="")), "--on-missing drop"),
    "adjust": (csv_text(DAILY.assign(adj_close=DAILY["close"] / 2)), "--adjust"),
}


@pytest.mark.parametrize("text, flag", REMEDIES.values(), ids=REMEDIES)
def test_the_remedy_that_a_command_prints_is_a_flag_that_works(
    text: str, flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = f"--data={saved(tmp_path, text)}"
    app = App(name="command")

    @app.default
    def command(*, options: Annotated[BarsOptions, Parameter(name="*")] = BarsOptions()) -> None:
        options.read()

    with pytest.raises(SystemExit):
        run(app, [path])
    assert flag in capsys.readouterr().err
    with pytest.raises(SystemExit) as left:
        run(app, [path, *shlex.split(flag)])
    assert left.value.code == 0


def test_a_stated_number_of_bars_per_year_goes_before_the_timestamps() -> None:
    bars = BarsOptions(bars_per_year=260).read()
    assert (yearly_bars(bars), yearly_bars(bars[:500])) == (260.0, 260.0)
    assert "260 bars per year" in describe_bars(bars)


@pytest.mark.parametrize("number", [0, -1, float("inf"), float("nan")])
def test_an_impossible_number_of_bars_per_year_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="`bars_per_year` must be a finite number above 0, got"):
        BarsOptions(bars_per_year=number)


def test_bars_are_described_by_what_every_result_depends_on(bars: pd.DataFrame) -> None:
    span = "400 bars of 1 day from 2020-01-01 to 2021-02-03"
    assert describe_bars(bars).startswith(f"bars: {span}, 1 a session, 365 bars per year, sha256 ")


@pytest.mark.parametrize(
    "options, name",
    [
        (BarsOptions(), "nasdaq"),
        (BarsOptions(Path("BRK.B.csv.gz")), "BRK.B"),
        (BarsOptions(instrument="EUR/USD"), "EUR-USD"),
        (BarsOptions(instrument="../x"), "x"),
        (BarsOptions(Path("many.csv"), ticker="AAA"), "AAA"),
    ],
)
def test_an_instruments_name_is_fit_for_a_file(options: BarsOptions, name: str) -> None:
    assert options.file_name == name


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        (["--data", ""], "--data"),
        (["--data="], "--data"),
        (["--columns.Price", "close", "--instrument", ""], "--instrument"),
        ([""], "an argument"),
    ],
)
def test_an_empty_argument_is_refused_before_it_becomes_the_current_folder(
    arguments: list[str], flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    app = App(name="command")

    @app.default
    def command(options: Annotated[BarsOptions, Parameter(name="*")] = BarsOptions()) -> None:
        pytest.fail(f"it ran on {options}")

    with pytest.raises(SystemExit) as left:
        run(app, arguments)
    assert left.value.code == 2
    assert capsys.readouterr().err == (
        f"error: {flag} must not be empty, got ''. Give a value, or leave it out.\n"
    )
