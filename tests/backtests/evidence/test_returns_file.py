"""Returns of a file: which column is what, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from backtests.evidence.returns_file import read_returns
from model.errors import BarsError, BarsWarning

N = 120
DRAW = np.random.default_rng(4)
TABLE = pd.DataFrame(
    {
        "date": pd.date_range("2020-01-01", periods=N, freq="B"),
        "fund": DRAW.normal(0, 0.01, N),
        "benchmark": DRAW.normal(0, 0.01, N),
    }
)
ALONE = TABLE[["date", "fund"]]


def read(tmp_path, table, *, text=None, **settings):
    path = tmp_path / "r.csv"
    path.write_text(table.to_csv(index=False) if text is None else text)
    return read_returns(path, **settings)


def test_dates_returns_and_benchmark_are_found_by_name_and_place(tmp_path):
    found = read(tmp_path, TABLE)
    assert found.returns == pytest.approx(TABLE["fund"].to_numpy())
    assert found.benchmark == pytest.approx(TABLE["benchmark"].to_numpy())
    assert (found.name, found.benchmark_name) == ("r.csv", "the benchmark")
    assert list(found.dates) == list(TABLE["date"]) and found.start == pd.Timestamp("2019-12-31")
    assert found.periods_per_year == 252 and not found.flags and found.timing is None


@pytest.mark.parametrize(
    ("table", "settings"),
    [
        (TABLE.rename(columns={"benchmark": "SPX"}), {"benchmark": "SPX"}),
        (TABLE.rename(columns={"benchmark": "SPX"}), {"benchmark": "SPX", "returns": "fund"}),
        (TABLE[["benchmark", "fund", "date"]].rename(columns={"date": "Time"}), {}),
        (TABLE[["fund", "benchmark", "date"]].rename(columns={"date": "Trade Date"}), {}),
        (TABLE.assign(more=0.1).rename(columns={"fund": "Returns"}), {}),
    ],
)
def test_columns_may_have_any_names_and_order(tmp_path, table, settings):
    found = read(tmp_path, table, **settings)
    assert found.returns == pytest.approx(TABLE["fund"].to_numpy())
    assert found.benchmark == pytest.approx(TABLE["benchmark"].to_numpy())


@pytest.mark.parametrize(
    "text",
    [
        ALONE.to_csv(index=False, header=False),
        ALONE.set_index("date").rename_axis(None).to_csv(),
        ALONE.assign(date=ALONE["date"].dt.strftime("%d.%m.%Y")).to_csv(
            index=False, sep=";", decimal=","
        ),
        ALONE.assign(fund=(100 * ALONE["fund"]).map("{:.13f}%".format)).to_csv(index=False),
    ],
)
def test_files_of_other_layouts_are_the_same(tmp_path, text):
    found = read(tmp_path, None, text=text)
    assert found.returns == pytest.approx(TABLE["fund"].to_numpy(), abs=1e-12)
    assert list(found.dates) == list(TABLE["date"])


def test_a_parquet_file_is_read_too(tmp_path):
    TABLE.set_index("date").to_parquet(tmp_path / "r.parquet")
    assert read_returns(tmp_path / "r.parquet").benchmark_name == "the benchmark"


def test_without_a_benchmark_it_is_cash_and_flagged_unless_the_book_is_neutral(tmp_path):
    alone, neutral = read(tmp_path, ALONE), read(tmp_path, TABLE, neutral=True)
    assert alone.benchmark_name == neutral.benchmark_name == "cash"
    assert not alone.benchmark.any() and not neutral.benchmark.any()
    assert [flag["name"] for flag in alone.flags] == ["benchmark"] and not neutral.flags


def test_a_neutral_book_has_no_benchmark(tmp_path):
    with pytest.raises(ValueError, match="`neutral` and `benchmark` exclude each other"):
        read(tmp_path, TABLE, neutral=True, benchmark="benchmark")


def gone(column, *rows):
    return TABLE.assign(**{column: TABLE[column].where(~TABLE.index.isin(rows))})


FAULTS = {
    "fewer than 50": (TABLE[:49], "a verdict needs at least 50 returns, got 49"),
    "constant": (TABLE.assign(fund=0.001), "the returns must vary, got 0.001 on all 120 dates"),
    "missing": (
        gone("fund", 5),
        "the returns are no numbers at 1 of 120 dates (first: 2020-01-08)",
    ),
    "infinite": (TABLE.replace({"fund": {TABLE["fund"][7]: np.inf}}), "no numbers at 1 of 120"),
    "twice": (
        pd.concat([TABLE[:60], TABLE[59:]]),
        "dates must be unique, got 1 date again (first: 2020-03-24, line 62)",
    ),
    "backwards": (TABLE[::-1], "dates must ascend, got 2020-06-15 after 2020-06-16 (line 3)"),
    "a benchmark of other dates": (
        gone("benchmark", *range(40)),
        "the benchmark has no return at 40 of 120 dates (first: 2020-01-01). It must be of the "
        "same dates",
    ),
    "percent": (TABLE.assign(fund=100 * TABLE["fund"]), "divide them by 100"),
    "a benchmark in percent": (
        TABLE.assign(benchmark=30 * TABLE["benchmark"]),
        "half of the benchmark move by more than 20%",
    ),
    "worth": (TABLE.assign(fund=1e5), "half of the returns move by more than 20%, in the median"),
    "below -1": (
        TABLE.assign(fund=TABLE["fund"].where(TABLE.index != 9, -1.5)),
        "the returns must lie above -1, got -1.5 on 2020-01-14",
    ),
    "some percent signs": (
        TABLE.assign(fund=["1.5%", *TABLE["fund"][1:].astype(str)]),
        "1 cells of column 'fund' bear a percent sign and 119 do not (first: line 2 and line 3)",
    ),
    "no dates": (TABLE.assign(date="soon"), "dates in column 'date' not understood"),
    "words": (
        TABLE.assign(fund="up"),
        "120 cells of column 'returns' not a number (first: line 2, 'up')",
    ),
    "unclear": (
        TABLE.rename(columns={"benchmark": "SPX"}),
        "one column beside the dates, taken from 'date', must hold the returns, got 'fund', 'SPX'",
    ),
    "irregular": (
        TABLE.assign(date=pd.Timestamp(2020, 1, 1) + pd.to_timedelta(np.arange(N) ** 2, "h")),
        "the dates have no usual spacing",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_bad_input_is_refused_with_one_clear_message(tmp_path, name):
    table, message = FAULTS[name]
    with pytest.raises(BarsError) as error:
        read(tmp_path, table)
    assert message in str(error.value)
    assert "kinds of problem" not in str(error.value) and error.value.exit_code == 3


def test_several_faults_are_told_together(tmp_path):
    with pytest.raises(BarsError, match="2 kinds of problem(.|\n)*1. dates must ascend(.|\n)*2. a"):
        read(tmp_path, TABLE[:30][::-1])


@pytest.mark.parametrize("setting", ["returns", "benchmark"])
def test_a_column_that_is_not_there_is_told_with_those_that_are(tmp_path, setting):
    expected = f"{setting}='fond' must name one column.*'fund', 'benchmark'.*mean 'fund'"
    with pytest.raises(BarsError, match=expected):
        read(tmp_path, TABLE, **{setting: "fond"})


def test_nothing_is_held_against_itself(tmp_path):
    with pytest.raises(BarsError, match="benchmark='fund' must name another column than that of"):
        read(tmp_path, TABLE, returns="fund", benchmark="fund")
    # The returns are of the column called benchmark, and so there is none.
    assert read(tmp_path, TABLE, returns="benchmark").benchmark_name == "cash"


def test_which_of_two_benchmarks_is_meant_is_asked(tmp_path):
    two = TABLE.assign(Benchmark=0.01)
    with pytest.raises(BarsError, match="must be called benchmark, got 'benchmark', 'Benchmark'"):
        read(tmp_path, two, returns="fund")
    assert read(tmp_path, two, returns="fund", benchmark="benchmark").returns[0] == TABLE["fund"][0]


def test_the_number_of_returns_a_year_may_be_stated(tmp_path):
    irregular = FAULTS["irregular"][0]
    assert read(tmp_path, irregular, bars_per_year=80).periods_per_year == 80


@pytest.mark.parametrize("level", [0.0, 0.0001])
def test_a_benchmark_that_does_not_vary_is_no_market(tmp_path, level):
    found = read(tmp_path, TABLE.assign(benchmark=level))
    [flag] = found.flags
    assert flag["identity"] and flag["sentence"].startswith("The benchmark does not vary, so that")


@pytest.mark.parametrize("name", ["Returns (%)", "return_pct", "percent"])
def test_a_column_that_says_percent_bears_signs_or_is_refused(tmp_path, name):
    with pytest.raises(BarsError, match="must hold fractions, .01 for 1 %, or bear percent signs"):
        read(tmp_path, ALONE.rename(columns={"fund": name}))
    signed = ALONE.assign(fund=(100 * ALONE["fund"]).map("{:.13f}%".format))
    found = read(tmp_path, signed.rename(columns={"fund": name}))
    assert found.returns == pytest.approx(TABLE["fund"].to_numpy(), abs=1e-12)


def test_the_change_of_pandas_is_a_fraction(tmp_path):
    found = read(tmp_path, ALONE.rename(columns={"fund": "pct_change"}))
    assert found.returns == pytest.approx(TABLE["fund"].to_numpy())


def test_the_numbers_of_rows_are_no_dates(tmp_path):
    found = read(tmp_path, None, text=ALONE.to_csv())
    assert list(found.dates) == list(TABLE["date"])


def test_a_quiet_fund_in_percent_is_noted(tmp_path):
    with pytest.warns(BarsWarning, match=r"the returns vary by \d+% a year. If they are percent"):
        read(tmp_path, ALONE.assign(fund=10 * ALONE["fund"]))


def test_dates_that_are_left_out_are_noted(tmp_path):
    dates = pd.date_range("2020-01-01", periods=730, freq="D")
    some = dates[np.sort(DRAW.permutation(730)[:400])]
    table = pd.DataFrame({"date": some, "fund": DRAW.normal(0, 0.01, 400)})
    with pytest.warns(BarsWarning, match="400 returns within 2.0 years are 201 a year, and"):
        read(tmp_path, table)
    read(tmp_path, table, bars_per_year=200)


def test_of_two_columns_with_one_name_none_can_be_named(tmp_path):
    text = ALONE.assign(more=ALONE["fund"]).to_csv(index=False).replace("fund,more", "fund,fund")
    with pytest.raises(BarsError, match="Give each column a name of its own"):
        read(tmp_path, None, text=text)


def test_dates_that_are_midnights_elsewhere_are_those_of_the_zone_that_is_stated(tmp_path):
    midnights = pd.date_range("2020-01-01", periods=N, freq="B", tz="Europe/Berlin")
    stated = ALONE.assign(date=midnights.tz_convert("UTC").strftime("%Y-%m-%dT%H:%M:%S+00:00"))
    with pytest.warns(BarsWarning, match="timezone='Europe/Berlin'"):
        read(tmp_path, stated)
    assert list(read(tmp_path, stated, timezone="Europe/Berlin").dates) == list(TABLE["date"])
