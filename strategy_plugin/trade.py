"""The command that trades live, or on paper.

python -m strategy_plugin.trade --symbols SPY --checkpoint models/

Paper money by default; the keys come from the environment, APCA_API_KEY_ID and APCA_API_SECRET_KEY.
"""

from dataclasses import KW_ONLY, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Group, Parameter

from model.cli import VERSION, errors, run
from model.features.registry import own_features
from model.settings import number, optional, require_fields, whole
from strategy_plugin import live as sessions
from strategy_plugin.decision import thresholds
from strategy_plugin.live.limits import STOP, Limits
from strategy_plugin.live.venue import VenueOptions
from strategy_plugin.orders import stops

BOOK = Group("Book", sort_key=9)
LIMITS = Group("Limits", sort_key=10)
Side = Annotated[float, number(0)]

SIDES = ("long", "short")
# Settings that do nothing where ranks are traded.
BY_ITSELF = ("enter", "exit", "allow_short", "share", "stop_loss", "trailing")

app = App(version=VERSION, name="strategy_plugin.trade")


@dataclass(frozen=True)
class Trading(VenueOptions):
    """How it is traded; every field is a flag of the command.

    Parameters
    ----------
    checkpoint
        A file of model.train, or a schedule folder; {name} in it stands for each symbol.
    live
        Trade real money; the account's number must be given too.
    account
        The number of the account, which must be the one that the keys belong to.
    dry_run
        Decide and send nothing.
    enter
        Probability from which a long position is opened; default: the checkpoint's own.
    exit
        Probability from which it is kept.
    allow_short
        Also go short.
    share
        Of the equity, that all positions together take.
    commission
        What the venue takes per side, in basis points, for which money is left.
    slippage
        How much worse than the quote an order is expected to fill, in basis points.
    stop_loss
        A stop at the venue for each position, at a distance like 3% or 2atr; default: none.
    trailing
        The same, following the price; not both.
    max_model_age
        Bar intervals after training beyond which nothing is opened; default: no limit.
    features
        Features of your own that the checkpoint was trained with, as my_features.py:Momentum,
        separated by commas.
    context
        The venue's symbols of the other series that the checkpoint was trained with: SPY, or
        spy=SPY where the series has another name.
    max_context_age
        Days by which the newest bar of a series may be older than one of its intervals, beyond
        which there is no forecast; default: as in training.
    history
        Bars filled in before the first live one; default: as many as the model needs and half more.
    bars
        Live bars after which it ends; 0 for none.
    retrain
        How often each model is trained anew, on the bars of the feed; default: never.
    tag
        The strategy's name in the ids of its orders; two that trade one account need two.
    out
        The folder of the run: bars.jsonl, decisions.jsonl, status.html, settings.toml, with
        `max_daily_loss` day.json, with `retrain` bars/ and trainings.log. A file STOP in it freezes
        the run.
    webhook
        A URL that gets each alarm as JSON: a breach of a limit, an order refused, a lost stream.
    on_stop
        What a frozen run does with what it holds.
    """

    _: KW_ONLY
    checkpoint: Path
    live: Annotated[bool, Parameter(negative=())] = False
    account: str | None = None
    dry_run: Annotated[bool, Parameter(negative=())] = False
    enter: Annotated[float | None, optional(number(0.5, below=1))] = None
    exit: Annotated[float | None, optional(number(0.5, below=1))] = None
    allow_short: Annotated[bool, Parameter(negative=())] = False
    share: Annotated[float, number(above=0)] = 0.95
    commission: Annotated[float, number(0)] = 0.0
    slippage: Annotated[float, number(0)] = 1.0
    stop_loss: str = ""
    trailing: str = ""
    max_model_age: Annotated[int | None, optional(whole(0))] = None
    features: str = ""
    context: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())] = ()
    max_context_age: Annotated[float | None, optional(number(0))] = None
    history: Annotated[int | None, optional(whole(1))] = None
    bars: Annotated[int, whole(0)] = 0
    retrain: Literal["weekly"] | None = None
    tag: str = "bilstm"
    out: Path = Path("runs/live")
    webhook: str | None = None
    on_stop: Literal["keep", "flat"] = "keep"

    def __post_init__(self) -> None:
        require_fields(self)
        # They refuse what the strategy would refuse.
        thresholds(self.enter, self.exit)
        stops(stop_loss=self.stop_loss, trailing=self.trailing)
        if self.live and self.account is None:
            raise ValueError(
                "`account` must be given with `live`: type out the number of the account whose "
                "money is to be traded."
            )
        if (stop := self.out / STOP).exists():
            cause = stop.read_text(encoding="utf-8", errors="replace").strip().partition("\n")[0]
            raise ValueError(
                f"{stop} must not be there at the start: {cause or 'somebody put it there'}. "
                "Remove it once the cause is dealt with."
            )


@dataclass(frozen=True)
class Ranks:
    """How the symbols are ranked against each other; every field is a flag of the command.

    Parameters
    ----------
    book
        Rank the symbols and trade the ranks, instead of each by itself.
    long, short
        Names on either side, a number or a share of those ranked; 0 for none.
    keep
        A name that is held stays while its rank is within so many times its side.
    weights
        Of the names of a side.
    gross
        All positions over equity, shorts included.
    cap
        The most of one name, as a share of the equity.
    fewest
        Names that must have a forecast, else the book stays as it is.
    rebalance
        Bars from one ranking to the next.
    """

    _: KW_ONLY
    book: Annotated[bool, Parameter(negative=())] = False
    long: Side = 0.2
    short: Side = 0.2
    keep: Annotated[float, number(1)] = 2.0
    weights: Literal["equal", "inverse-volatility"] = "equal"
    gross: Annotated[float, number(above=0)] = 0.95
    cap: Annotated[float, number(above=0)] = 1.0
    fewest: Annotated[int, whole(1)] = 2
    rebalance: Annotated[int, whole(1)] = 1

    def __post_init__(self) -> None:
        require_fields(self)

    @property
    def params(self) -> dict[str, object]:
        """Those of BookStrategy."""
        own = {name: value for name, value in vars(self).items() if name != "book"}
        # A side is a number of names from 1 on, and a share of them below.
        sides = {name: int(own[name]) if own[name] >= 1 else own[name] for name in SIDES}
        return own | sides

    def require_fitting(self, trading: Trading) -> None:
        """Refuse settings of the one way of trading that are given for the other."""
        unused = BY_ITSELF if self.book else tuple(self.params)
        of: Trading | Ranks = trading if self.book else self
        given = [
            field.name
            for field in fields(of)
            if field.name in unused and getattr(of, field.name) != field.default
        ]
        if given:
            raise ValueError(
                f"{', '.join(f'`{name}`' for name in given)} must be left out "
                f"{'with' if self.book else 'without'} `book`, as nothing goes by it then."
            )


@app.default
def trade(
    trading: Annotated[Trading, Parameter(name="*")],
    *,
    ranks: Annotated[Ranks, Parameter(name="*", group=BOOK)] = Ranks(),
    limits: Annotated[Limits, Parameter(name="*", group=LIMITS)] = Limits(),
    settings_file: Annotated[str, Parameter(parse=False)] = "",
) -> int:
    """Trade a checkpoint at a venue, bar by bar, until it is told to stop.

    Prints what it finds, then a line of JSON for each live bar, which the folder `out` keeps too.
    """
    ranks.require_fitting(trading)
    own_features(trading.features)  # known from here on
    say = partial(errors.print, "note:", markup=False)
    return sessions.trade_live(trading, ranks, limits, say, settings_file)


if __name__ == "__main__":
    run(app)
