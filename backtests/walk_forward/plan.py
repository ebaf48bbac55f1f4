"""The settings of a walk-forward: how bars are cut into folds, and all else that decides it."""

from dataclasses import dataclass, replace
from typing import Annotated

from backtests.simulation.account import BASIS_POINT, Account, BookSettings, Costs
from backtests.walk_forward.thresholds import Search
from model.labels.labelling import BARRIER, Labelling
from model.settings import number, require_fields, whole
from model.training.config import TrainConfig


@dataclass(frozen=True)
class FoldPlan:
    """How the bars are cut into folds; every field is a flag of the command.

    Parameters
    ----------
    folds
        Test blocks; they adjoin, and the last one ends on the last bar.
    train_blocks
        Length of the past that each fold learns from, in test blocks.
    validation_share
        Share of that past, its tail, that chooses the epoch, the calibration and the thresholds.
    fewest_trades
        Round trips on validation from which a pair of thresholds may be chosen; .50/.50 where no
        pair makes as many.
    anchored
        Let every fold's past begin on the first bar, so that it grows, rather than move along.
    """

    folds: Annotated[int, whole(1)] = 8
    train_blocks: Annotated[int, whole(1)] = 8
    validation_share: Annotated[float, number(above=0, below=1)] = 0.2
    fewest_trades: Annotated[int, whole(1)] = 10
    anchored: bool = False

    def __post_init__(self) -> None:
        require_fields(self)

    def training(self, config: TrainConfig, costs: Costs | None = None) -> TrainConfig:
        """Return the settings with this plan's shares: a fold's past is training and validation.

        costs: of the account, after which the trades of a barrier label are judged as well.
        """
        # Rounded, as 1 - .9 is .09999999999999998 and the two shares must make 1.
        train = round(1 - self.validation_share, 12)
        shared = replace(config, train=train, validation=self.validation_share)
        if config.label != BARRIER or costs is None:
            return shared
        slippage = costs.half_spread + costs.slippage
        return replace(shared, commission=costs.commission, slippage=slippage)


@dataclass(frozen=True)
class Settings:
    """All that decides a walk-forward over given bars.

    config: with the shares of the plan (`FoldPlan.training`). book: by which the names of a
    universe are ranked and traded in one account; None where no names are ranked.
    """

    plan: FoldPlan = FoldPlan()
    config: TrainConfig = FoldPlan().training(TrainConfig())
    account: Account = Account()
    costs: Costs = Costs()
    book: BookSettings | None = None

    def __post_init__(self) -> None:
        if self.account.exit_by == BARRIER and self.config.label != BARRIER:
            raise ValueError(
                f"`exit_by` must be 'probability' with label={self.config.label!r}, got 'barrier': "
                "the run is judged by what its network forecasts. Give label='barrier', with its "
                "levels and horizon."
            )

    @property
    def traded(self) -> Labelling | None:
        """The trade that each position is; None where the forecast closes it."""
        return self.config.labelling if self.account.exit_by == BARRIER else None

    @property
    def search(self) -> Search:
        """How each fold chooses its thresholds: after its costs, on the sides it trades.

        Always the same where names are traded by rank.
        """
        if self.config.outcome == "relative" or self.book:
            return Search(0.0)
        cost = self.costs.per_side * BASIS_POINT
        return Search(cost, self.account.allow_short, self.plan.fewest_trades, self.traded)
