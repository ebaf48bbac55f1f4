"""What a person must know of a run: a page that is rewritten at each bar, and messages to a URL."""

import html
import json
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from urllib.request import Request, urlopen

from model.files import write_atomically

PAGE = "status.html"
MOST_BARS, MOST_ALARMS = 20, 20
SECONDS_TO_WAIT = 10.0  # for the answer of a webhook
SHOWN = ("bar", "symbol", "close", "probability", "wanted", "reason", "order", "position", "equity")
STYLE = (
    "body{font:15px system-ui;margin:2em}table{border-collapse:collapse}"
    "td,th{padding:.2em .8em;text-align:right;border-bottom:1px solid #ddd}"
)
LOG = logging.getLogger("strategy_plugin.live")


class StatusPage:
    """A page in the folder of a run: its last bars and its last alarms, the newest first.

    It appears whole or not at all, so that whoever opens it never sees half of one.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / PAGE
        self._bars: deque[Mapping[str, object]] = deque(maxlen=MOST_BARS)
        self._alarms: deque[str] = deque(maxlen=MOST_ALARMS)

    def take_bar(self, line: Mapping[str, object]) -> None:
        self._bars.appendleft(line)
        self._write()

    def take_alarm(self, message: str) -> None:
        self._alarms.appendleft(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC: {message}")
        self._write()

    def _write(self) -> None:
        newest = self._bars[0] if self._bars else {}
        frozen = str(newest.get("frozen", ""))
        rows = [[str(line.get(name, "")) for name in SHOWN] for line in self._bars]
        alarms = "".join(f"<li>{html.escape(alarm)}</li>" for alarm in self._alarms)
        page = (
            '<!doctype html><html lang="en"><meta charset="utf-8">'
            '<meta http-equiv="refresh" content="10"><title>live</title>'
            f"<style>{STYLE}</style><h1>{html.escape(frozen) or 'trading'}</h1>"
            f"<p>Equity {newest.get('equity', 'not known yet')}</p>{_table(SHOWN, rows)}"
            f"<h2>Alarms</h2><ul>{alarms or '<li>none</li>'}</ul></html>\n"
        )
        write_atomically(self._path, page.encode())


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
        self, page: StatusPage, say: Callable[[str], object], webhook: str | None = None
    ) -> None:
        super().__init__(logging.WARNING)
        self._page, self._say, self._webhook = page, say, webhook
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
        self._page.take_alarm(message)
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
