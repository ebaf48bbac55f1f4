"""What a person is told of a run: its page, and the messages to a webhook."""

import json
import logging
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from strategy_plugin.live.watch import LINES, LOG, MOST_BARS, PAGE, Alarms, RunFolder

BAR = {"bar": "2024-01-03", "symbol": "SPY", "close": 10.5, "equity": 1234.5, "frozen": ""}


@pytest.fixture
def hook() -> Iterator[tuple[str, list[Any]]]:
    """A webhook on this machine, and what it got."""
    got: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", got
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_page_shows_the_last_bars_and_alarms_the_newest_first(tmp_path: Path) -> None:
    page = RunFolder(tmp_path)
    for number in range(MOST_BARS + 5):
        page.take_bar(BAR | {"close": 100 + number})
    page.take_alarm("an <order> is refused")
    text = (tmp_path / PAGE).read_text()
    assert "Equity 1234.5" in text and "<h1>trading</h1>" in text
    assert "<td>104</td>" not in text and text.index("<td>124</td>") < text.index("<td>105</td>")
    assert "an &lt;order&gt; is refused" in text
    page.take_bar(BAR | {"frozen": "`max_order` is 10"})
    assert "<h1>`max_order` is 10</h1>" in (tmp_path / PAGE).read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == [LINES, PAGE]


def test_a_line_that_was_torn_does_not_spoil_the_next(tmp_path: Path) -> None:
    (tmp_path / LINES).write_bytes(b'{"bar": "2024-01-02"}\n{"bar": "20')
    text = RunFolder(tmp_path).take_bar(BAR)
    assert json.loads(text) == BAR
    assert (tmp_path / LINES).read_text().splitlines()[1:] == ['{"bar": "20', text]


def test_a_folder_that_takes_nothing_is_an_alarm_once_and_no_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, hook: Any
) -> None:
    folder = RunFolder(tmp_path / "gone")
    with Alarms(folder, print, hook[0]) as alarms:
        for _ in range(3):
            folder.take_bar(BAR)
    [said] = [record.message for record in caplog.records]
    assert "the run's folder cannot be written" in said and "Trading goes on" in said
    assert alarms.told == [said] and hook[1] == [{"text": said, "level": "warning"}]


def test_an_alarm_goes_to_the_webhook_and_to_the_page(tmp_path: Path, hook: Any) -> None:
    url, got = hook
    said: list[str] = []
    with Alarms(RunFolder(tmp_path), said.append, url):
        LOG.error("an order of %d is not sent", 3)
        LOG.info("a stream is back")
        LOG.warning("the stream of bars broke")
    LOG.warning("after the run")
    assert said == ["an order of 3 is not sent", "the stream of bars broke"]
    assert got == [
        {"text": "an order of 3 is not sent", "level": "error"},
        {"text": "the stream of bars broke", "level": "warning"},
    ]
    assert "the stream of bars broke" in (tmp_path / PAGE).read_text()


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "no url"])
def test_a_webhook_that_takes_nothing_is_said_once(
    url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Alarms(RunFolder(tmp_path), print, url):
        for _ in range(3):
            LOG.warning("something")
    said = [record for record in caplog.records if "webhook" in record.message]
    assert [record.levelno for record in said] == [logging.WARNING]
