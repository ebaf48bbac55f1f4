"""What a person must know of a run: a page that is rewritten at each bar, and messages to a URL."""

import html
import json
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from urllib.request import Request, urlopen

from model.files import write_atomically
from strategy_plugin.journal import ends_within_a_line

LINES, PAGE = "bars.jsonl", "status.html"
MOST_BARS, MOST_ALARMS = 20, 20
SECONDS_TO_WAIT = 10.0  # for the answer of a webhook
SHOWN = ("bar", "symbol", "close", "probability", "wanted", "reason", "order", "position", "equity")
STYLE = (
    "body{font:15px system-ui;margin:2em}table{border-collapse:collapse}"
    "td,th{padding:.2em .8em;text-align:right;border-bottom:1px solid #ddd}"
)
LOG = logging.getLogger("strategy_plugin.live")


class RunFolder:
    """What a run leaves in its folder: a line of JSON for each bar, and a page of the newest.

    The page appears whole or not at all, so that whoever opens it never sees half of one. A disk
    that takes nothing is an alarm, and trading goes on.
    """

    def __init__(self, folder: Path) -> None:
        self._lines, self._page = folder / LINES, folder / PAGE
        self._bars: deque[Mapping[str, object]] = deque(maxlen=MOST_BARS)
        self._alarms: deque[str] = deque(maxlen=MOST_ALARMS)
        self._takes_nothing = False

    def take_bar(self, line: Mapping[str, object]) -> str:
        """Keep the line of a bar, and return it as it stands in the file."""
        text = json.dumps(line, allow_nan=False)
        self._bars.appendleft(line)
        with self._alarmed(), self._lines.open("a", encoding="utf-8") as lines:
            # An earlier run may have died within a line, or the disk have taken a part of one.
            gap = "\n" if ends_within_a_line(self._lines) else ""
            lines.write(f"{gap}{text}\n")
        self._write()
        return text

    def take_alarm(self, message: str) -> None:
        self._alarms.appendleft(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC: {message}")
        self._write()

    @contextmanager
    def _alarmed(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if not self._takes_nothing:
                self._takes_nothing = True  # before the alarm, which is to be written as well
                LOG.warning("the run's folder cannot be written: %s Trading goes on", error)

    def _write(self) -> None:
        # Copies: a stream's thread may bring an alarm meanwhile.
        bars, told = list(self._bars), list(self._alarms)
        newest = bars[0] if bars else {}
        frozen = str(newest.get("frozen", ""))
        rows = [[str(line.get(name, "")) for name in SHOWN] for line in bars]
        alarms = "".join(f"<li>{html.escape(alarm)}</li>" for alarm in told)
        page = (
            '<!doctype html><html lang="en"><meta charset="utf-8">'
            '<meta http-equiv="refresh" content="10"><title>live</title>'
            f"<style>{STYLE}</style><h1>{html.escape(frozen) or 'trading'}</h1>"
            f"<p>Equity {newest.get('equity', 'not known yet')}</p>{_table(SHOWN, rows)}"
            f"<h2>Alarms</h2><ul>{alarms or '<li>none</li>'}</ul></html>\n"
        )
        with self._alarmed():
            write_atomically(self._page, page.encode())


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in names)
    body = "".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


class Alarms(logging.Handler):
    """Takes the warnings of the store: says them, and sends them to the page and to a webhook.

    Messages are sent by a thread of their own, one after the other: trading never waits for them.
    `told` holds those that no line of a bar has told of yet.
    """

    def __init__(
        self, folder: RunFolder, say: Callable[[str], object], webhook: str | None = None
    ) -> None:
        super().__init__(logging.WARNING)
        self._folder, self._say, self._webhook = folder, say, webhook
        self.told: list[str] = []
        self._messages: SimpleQueue[dict[str, str] | None] = SimpleQueue()
        self._thread = Thread(target=self._send_all, daemon=True)

    def __enter__(self) -> "Alarms":
        LOG.addHandler(self)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        LOG.removeHandler(self)
        self._messages.put(None)
        self._thread.join(SECONDS_TO_WAIT)

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        self._say(message)
        self._folder.take_alarm(message)
        self.told.append(message)
        if self._webhook is not None:
            self._messages.put({"text": message, "level": record.levelname.lower()})

    def _send_all(self) -> None:
        said = False
        while (message := self._messages.get()) is not None:
            data = json.dumps(message).encode()
            headers = {"Content-Type": "application/json"}
            try:
                request = Request(str(self._webhook), data, headers)
                urlopen(request, timeout=SECONDS_TO_WAIT).close()
            except (OSError, ValueError) as error:
                # Not by our own logger, whose handler this is; and once.
                if not said:
                    logging.getLogger("strategy_plugin").warning(
                        "the webhook does not take messages (%s); further ones are tried", error
                    )
                said = True
