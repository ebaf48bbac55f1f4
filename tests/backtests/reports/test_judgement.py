"""The judgement on returns of any strategy: its file, its page, its tables."""

import json
import re
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest

from backtests.evidence.returns import DatedReturns
from backtests.reports.judgement import (
    EVIDENCE_VERSION,
    Judgement,
    evidence_json,
    render_judgement,
)
from backtests.reports.schema import EvidenceFile
from tests.helpers.formats import format_of

FROZEN = Path(__file__).parent / "evidence.schema.json"
N = 600


@pytest.fixture(scope="module")
def record():
    draw = np.random.default_rng(8)
    market = draw.normal(0.0003, 0.01, N)
    return DatedReturns(
        name="<b>mine",
        start=pd.Timestamp(2019, 12, 31),
        dates=pd.date_range("2020-01-01", periods=N, freq="B", name="date"),
        returns=0.5 * market + draw.normal(0.0002, 0.003, N),
        benchmark=market,
        benchmark_name="SPX & co",
        periods_per_year=252.0,
        unseen=("forecasts, for there are none", "what else was tried"),
        timing=draw.normal(0.0008, 0.003, N),
        exposed=np.ones(N, dtype=bool),
        instruments=("A", "B"),
    )


@pytest.fixture(scope="module")
def judgement(record):
    return Judgement(record)


def test_what_is_written_fits_the_format(judgement, record):
    found = msgspec.json.decode(evidence_json(judgement), type=EvidenceFile)
    assert found.version == EVIDENCE_VERSION and found.record.returns == N
    silent = replace(record, timing=None, exposed=None, returns=np.zeros(N))
    bare = msgspec.json.decode(evidence_json(Judgement(silent)), type=EvidenceFile)
    assert bare.strategy.sharpe is None and bare.strategy.exposure is None


def test_the_format_changes_only_with_its_version():
    """Write evidence.schema.json anew with a higher version when an entry changes its name or
    meaning.
    """
    assert json.loads(FROZEN.read_text()) == format_of(EvidenceFile)


def test_years_and_totals_multiply_to_the_whole(judgement, record):
    found = json.loads(evidence_json(judgement))
    for values, total, name in (
        (record.returns, found["strategy"], "return"),
        (record.benchmark, found["benchmark"], "benchmark_return"),
    ):
        years = np.prod([1 + year[name] for year in found["years"]])
        assert years == pytest.approx(np.prod(1 + values)) == pytest.approx(1 + total["return"])
    assert [year["year"] for year in found["years"]] == [2020, 2021, 2022]


def test_a_loss_at_the_first_bar_is_a_drawdown(record):
    falling = replace(record, returns=np.r_[-0.2, np.full(N - 1, 1e-4)])
    assert Judgement(falling).totals(ours=True)["max_drawdown"] == pytest.approx(-0.2)


def test_the_verdict_says_over_what_and_what_was_not_looked_at(judgement):
    sentence = judgement.verdict.sentence
    assert "a year over SPX & co (beta 0.49)" in sentence and "AUC" not in sentence
    assert "Not looked at: forecasts, for there are none; what else was tried." in sentence
    assert "Hansen's test knows of this one strategy alone" in judgement.verdict.rule


def test_the_alpha_worth_having_decides_what_is_no_edge(record):
    small = replace(record, returns=0.5 * record.benchmark + 1e-9 * record.timing)
    assert Judgement(small).verdict.word == "no edge"
    cautious = replace(record, returns=record.returns - record.returns.mean())
    assert Judgement(cautious).verdict.word == "cannot tell"
    assert Judgement(cautious, worth=0.5).verdict.word == "no edge"


def test_fills_at_the_close_that_gain_nothing_forbid_an_edge(record):
    sure = replace(record, returns=record.returns + 0.002)
    assert Judgement(sure).verdict.word == "edge"
    assert Judgement(replace(sure, timing=-record.timing)).verdict.word == "cannot tell"


@pytest.mark.parametrize(
    "words",
    [
        "&lt;b&gt;mine on A, B: 600 returns of 1 day",
        "SPX &amp; co",
        "bars in the market",
        "alpha over SPX &amp; co, bp per bar",
        "timing gain, filled at the close decided at",
        "alpha a year that is worth having</td><td>1.0%",
        "smallest alpha a year that the whole rule shows",
        "p: no alpha over SPX &amp; co",
        "bars per year",
        "arch",
    ],
)
def test_the_page_says(page, words):
    assert words.replace("'", "&#39;") in page


@pytest.fixture(scope="module")
def page(judgement):
    return render_judgement(judgement)


def test_the_page_has_the_head_of_all_and_no_part_that_needs_forecasts(page, judgement):
    assert re.findall(r'id="chart-(\w+)"', page) == ["equity", "drawdown"]
    tables = ["glance", "figures", "tests", "months"]
    assert re.findall(r'<table id="table-(\w+)"', page) == tables
    head = page.partition('<div class="verdict">')[2].partition("</div>")[0]
    assert f"<strong>{judgement.verdict.word}</strong>" in head
    assert "<b>mine" not in page and "AUC, pairs" not in page


def test_small_growths_are_written_as_numbers(page):
    """Not as 800m, which is how a scale of money would write .8."""
    assert '"tickformat":"~g"' in page and '"tickformat":"~s"' not in page
