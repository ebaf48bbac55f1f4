import html
import json
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from plotly.offline import get_plotlyjs

from backtests.reports.charts import CHARTS, MOST_POINTS, thinned
from backtests.reports.html import render, write_report
from backtests.reports.page import REPORT, pairs_of, sign_of
from backtests.simulation.account import Account, Costs
from backtests.walk_forward.folds import FoldModel, FoldPlan, Settings, lay_folds
from model.features.table import FEATURE_GROUPS
from model.training.config import TrainConfig
from tests.helpers.folds import evaluate, save
from tests.helpers.makers import random_bars, random_checkpoint


@pytest.mark.parametrize(
    "value, text",
    [
        (None, "-"),
        (True, "yes"),
        (False, "no"),
        (100_000.0, "100,000"),
        (0.1234567, "0.1234567"),
        (1e-4, "0.0001"),
        (7, "7"),
        ("1999-01-04 00:00:00", "1999-01-04"),
        ("2020-03-06 15:00:00", "2020-03-06 15:00:00"),
    ],
)
def test_a_setting_is_written_for_one_who_knows_no_python(value, text):
    assert pairs_of({"of_it": {"a_name": value}}) == [("of it: a name", text)]


@pytest.mark.parametrize(
    "text, sign",
    [("+1.5%", "gain"), ("-0.1%", "loss"), ("+0.0%", ""), ("-", ""), ("2019", ""), ("", "")],
)
def test_a_figure_is_a_gain_or_a_loss_unless_it_is_nought(text, sign):
    assert sign_of(text) == sign


PLAN = FoldPlan(folds=3, train_blocks=2)
CONFIG = PLAN.training(TrainConfig())
CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
# What a page complains of comes on stderr; no name of any network can be resolved.
HEADLESS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--allow-file-access-from-files",
    "--enable-logging=stderr",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--virtual-time-budget=20000",
    "--dump-dom",
]
PROBE = """<body style="margin:0">
<iframe src="report.html" width="WIDTH" height="4000" style="border:0"></iframe>
<pre></pre><script>
addEventListener("load", () => setTimeout(() => {
  const page = document.querySelector("iframe").contentDocument;
  const style = page.defaultView.getComputedStyle(page.body);
  const charts = [...page.querySelectorAll(".plotly-graph-div")].map(chart => ({
    name: chart.id, width: chart.getBoundingClientRect().right,
    marks: chart.querySelectorAll(".trace path[d], .points path[d], .bars path[d]").length,
    text: page.defaultView.getComputedStyle(
      chart.querySelector(".xtick text, .x2tick text")).fill}));
  document.querySelector("pre").textContent = JSON.stringify({
    width: page.documentElement.scrollWidth,
    text: style.color, page: style.backgroundColor, charts});
}, 3000));
</script></body>"""


@pytest.fixture(scope="module")
def market_bars():
    bars = random_bars(700, seed=3)
    bars.attrs = {"instrument": "<b>odd & name", "timezone": None, "stamp": "open"}
    return bars


@pytest.fixture(scope="module")
def results(market_bars, tmp_path_factory):
    looks = dict.fromkeys(FEATURE_GROUPS, 0.01)
    models = [
        FoldModel(
            fold,
            random_checkpoint(
                market_bars, market_bars.index[fold.test], seed=fold.number, enter=0.55
            ),
            importance=looks,
        )
        for fold in lay_folds(market_bars, PLAN, CONFIG)
    ]
    folder = save(models, tmp_path_factory.mktemp("checkpoints"))
    best = (
        market_bars["close"] * 0
        + 0.5
        + 0.1 * np.sign(market_bars["open"].shift(-2) - market_bars["open"].shift(-1)).fillna(0)
    )
    return evaluate(
        market_bars, models, folder, Settings(PLAN, CONFIG, Account(), Costs()), best=best
    )


@pytest.fixture(scope="module")
def page(results):
    return render(results)


@pytest.fixture(scope="module")
def text(page):
    """What a reader sees, without scripts and tags."""
    body = re.sub(r"<(script|style).*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def test_the_verdict_stands_on_top(text, results):
    before, _, _ = text.partition("At a glance")
    assert results.verdict.word in before and results.verdict.reasons in before


def test_daily_bars_are_told_by_their_dates(text, market_bars):
    assert f"{market_bars.index[-1]:%Y-%m-%d}" in text
    assert "00:00:00" not in text


def test_the_page_loads_nothing(page):
    ours = page.replace(get_plotlyjs(), "")
    assert len(ours) < 1_000_000 and "<script>" in ours
    assert not re.search(
        r"""<(script|img|iframe)[^>]*\ssrc=|<link[^>]*href="(?!data:)|@import|url\(""", ours
    )
    assert len(page) < 6_000_000


def test_names_cannot_become_markup(page):
    assert "&lt;b&gt;odd &amp; name" in page and "<b>odd" not in page


@pytest.mark.parametrize(
    "words",
    [
        "What chance leaves open",
        "Benchmarks on the same bars",
        "break-even cost per side",
        "moving averages",
        "boosting",
        "Hansen's test",
        "smallest alpha a year that the whole rule shows",
        "20 bp",
        "if the 99 % lower bound of alpha lies above 0",
        "minimum track record length",
        "nothing can forecast it better",
        "share of the edge",
        "no pair made enough trades",
        "bars in the market",
        "Expected calibration error",
        "validation share",
        "sha256",
        "torch",
        "fold-03.ckpt",
        "2 basis points per side: commission 1, half spread 0.5, slippage 0.5",
    ],
)
def test_the_page_says(text, words):
    assert words in text


def test_the_months_multiply_to_the_whole(page, results):
    table = re.search(r'<table id="table-months".*?</table>', page, re.DOTALL).group()
    years = [
        float(re.findall(r">([+-][\d.]+)%</td>", row)[-2])
        for row in re.findall(r"<tr>(<td.*?)</tr>", table)
    ]
    equity = results.strategy.equity
    assert np.prod([1 + year / 100 for year in years]) == pytest.approx(
        equity.iloc[-1] / equity.iloc[0], abs=2e-3
    )


def test_long_series_are_thinned_to_what_a_screen_shows():
    long = pd.Series(np.arange(100_000))
    assert len(thinned(long)) == MOST_POINTS and thinned(long).iloc[[0, -1]].tolist() == [0, 99_999]
    assert thinned(long[:10]).equals(long[:10])


def test_a_long_and_busy_run_stays_a_small_file(results):
    """Thirty thousand bars of a minute, with a trade on every other."""
    stamps = pd.date_range("2020-01-01", periods=30_000, freq="min", name="date")
    flat = pd.Series(np.linspace(1e5, 2e5, 30_000) / 3, index=stamps)
    trades = pd.DataFrame(
        {
            "decided_at": stamps[::2],
            "opened_at": stamps[::2],
            "closed_at": stamps[1::2],
            "entry_price": flat[::2].to_numpy(),
            "exit_price": flat[1::2].to_numpy(),
            "net": 1.0,
            "return": 0.01,
            "bars": 1,
        }
    )
    bars = pd.DataFrame({name: flat for name in ("open", "high", "low", "close", "volume")})
    bars.attrs = results.bars.attrs
    busy = replace(results.strategy, equity=flat, position=flat, probability=flat, trades=trades)
    page = render(replace(results, bars=bars, strategy=busy, hold=replace(busy, trades=trades[:0])))
    assert 5_000_000 < len(page) < 5_900_000


def test_the_same_results_give_the_same_page(results, page):
    assert render(results) == page


@pytest.fixture(scope="module")
def folder(results, tmp_path_factory):
    path = tmp_path_factory.mktemp("report")
    write_report(path, results)
    return path


def shown(folder, width, scheme):
    """What the browser made of the page, and what it complained of, without any network."""
    (folder / "probe.html").write_text(PROBE.replace("WIDTH", str(width)))
    command = [
        CHROMIUM,
        *HEADLESS,
        f"--blink-settings=preferredColorScheme={scheme}",
        f"--user-data-dir={folder / 'profile'}",
        (folder / "probe.html").as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    found = re.search(r"<pre>(.*?)</pre>", done.stdout, re.DOTALL).group(1)
    return json.loads(html.unescape(found)), [
        line for line in done.stderr.splitlines() if "CONSOLE" in line
    ]


def brightness(colour):
    """The relative luminance of rgb(...), as the Web Content Accessibility Guidelines define it."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    return sum(
        weight * (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4)
        for weight, part in zip((0.2126, 0.7152, 0.0722), parts)
    )


def contrast(one, other):
    low, high = sorted((brightness(one), brightness(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.skipif(
    CHROMIUM is None, reason="Chromium is not installed: the report is not looked at in a browser"
)
@pytest.mark.parametrize("width, scheme, dark", [(1280, 1, False), (400, 0, True)])
def test_a_browser_shows_every_chart_readably(folder, width, scheme, dark):
    found, complaints = shown(folder, width, scheme)
    assert complaints == []
    assert found["width"] <= width and [chart["name"] for chart in found["charts"]] == [
        f"chart-{name}" for name in PLACES
    ]
    for chart in found["charts"]:
        assert chart["marks"] > 0 and chart["width"] <= width, chart
        assert contrast(chart["text"], found["page"]) > 4.5, chart
    assert contrast(found["text"], found["page"]) > 7 and (brightness(found["page"]) < 0.1) == dark


PLACES = (
    "equity",
    "drawdown",
    "benchmarks",
    "forecasts",
    "distribution",
    "rolling",
    "calibration",
    "importance",
)


def test_every_chart_has_its_place_in_the_page(page):
    assert sorted(PLACES) == sorted(CHARTS)
    assert re.findall(r'id="chart-(\w+)"', page) == list(PLACES)


def test_the_file_has_the_name_of_the_report(folder):
    assert (folder / REPORT).stat().st_size < 6_000_000
