"""The settings of training: TrainConfig, whose fields are the flags of the commands."""

from dataclasses import asdict, dataclass, replace
from typing import Annotated, Literal

from model.features.own import KnownFeature
from model.features.registry import identities, own_features
from model.features.series import ContextRecord
from model.features.table import FeatureEngineer, layout
from model.labels.barrier import Barrier
from model.labels.labelling import BARRIER, OWN, Labelling
from model.labels.moves import FEWEST_COMPARED, MOVES
from model.labels.own import own_label
from model.networks.registry import BUILT_IN, MOST_MEMBERS, members_of
from model.settings import number, require, require_fields, whole
from model.training.preprocessor import DataPreprocessor

MOST_SEEDS = MOST_MEMBERS // len(BUILT_IN)  # an ensemble has one of each of these for every seed


@dataclass(frozen=True)
class TrainConfig:
    """How to train; every field is a flag of the commands.

    Parameters
    ----------
    architecture
        Which network: "bilstm", "transformer", or "ensemble", one of each, whose mean logit
        decides.
    seeds
        Networks of each architecture, trained with the seeds `seed`, `seed` + 1 and so on; their
        mean logit decides.
    label
        What is predicted: "open", the move from the next open; "close", the move from this close;
        "barrier", whether a long position opened at the next open gains until it takes its profit,
        is stopped, or its bars are over; or a label of your own, as my_labels.py:Rise.
    horizon
        Bars over which the move is measured, or for which the position is held at the most.
    take_profit, stop_loss
        Of the label "barrier": a distance from the entry like 3% or 2atr, as the strategy's. One
        of them may be left out.
    commission
        Of the label "barrier": what the broker takes per side, in basis points.
    slippage
        Of the label "barrier": how much worse than quoted an order fills, in basis points.
    outcome
        "direction", whether the price rises, or "relative", whether it rises more than the median
        of the other instruments of a universe.
    fewest_instruments
        Instruments that a universe must have, and that must be compared on a date for a relative
        label.
    features
        Features of your own beside ours, as my_features.py:Momentum, separated by commas; a plain
        word is one that is registered, here or by an installed package.
    only
        Leave our 86 features out.
    sequence_length
        Feature rows per window.
    train
        Share of the windows, the earliest, to train on.
    validation
        Share of the windows after them that choose the epoch and the calibration; the rest is the
        test part.
    batch_size
        Windows per step, in time order; of a universe the next whole dates until there are so many.
    learning_rate
        AdamW's at the start; halved when more than 5 epochs in a row bring no better validation
        loss.
    warm_up
        Steps over which the learning rate rises to its full size.
    weight_decay
        AdamW's decoupled weight decay.
    label_softness
        The size of a move, in units of recent volatility, that makes a training label 84 % sure; 0:
        all are 100 % sure.
    averaging
        Share of the averaged weights, which validation judges and the checkpoint keeps, that a step
        leaves as it was.
    max_epochs
        Passes over the training part at the most.
    patience
        Epochs without a better validation loss, the log loss after calibration, after which
        training stops.
    gradient_clip
        Largest norm of the gradient of all weights together.
    seed
        Seed of the initial weights and of dropout: same seed and threads, same bits.
    threads
        Threads of this process; more than one slows down as soon as another process uses a core.
    device
        Where torch computes; "cuda" is untested, and only "cpu" gives the same bits on every run.
    precision
        Arithmetic of training: "fp32", or "bf16", faster on a CPU with AMX. Trading has a precision
        of its own.

    Raises
    ------
    ValueError
        For a setting that cannot be meant, with what it must be.

    Examples
    --------
    >>> TrainConfig(horizon=5, seeds=3).preprocessor.split(1000)
    (slice(0, 695, None), slice(700, 845, None), slice(850, 1000, None))
    >>> TrainConfig(batch_size=0)
    Traceback (most recent call last):
    ValueError: `batch_size` must be a whole number from 1, got 0.
    """

    # The networks
    architecture: str = "bilstm"
    seeds: Annotated[int, whole(1, MOST_SEEDS)] = 1
    # What they see, and what they forecast
    label: str = "open"
    horizon: int = 1
    take_profit: str = ""
    stop_loss: str = ""
    commission: float = 0.0
    slippage: float = 0.0
    outcome: Literal["direction", "relative"] = "direction"
    fewest_instruments: Annotated[int, whole(1)] = 10
    features: str = ""
    only: bool = False
    sequence_length: int = 50
    train: float = 0.70
    validation: float = 0.15
    # How they learn
    batch_size: Annotated[int, whole(1)] = 64
    learning_rate: Annotated[float, number(above=0)] = 1e-3
    warm_up: Annotated[int, whole(0)] = 0
    weight_decay: Annotated[float, number(0)] = 1e-4
    label_softness: Annotated[float, number(0)] = 1.0
    averaging: Annotated[float, number(0, below=1)] = 0.99
    max_epochs: Annotated[int, whole(1)] = 100
    patience: Annotated[int, whole(1)] = 10
    gradient_clip: Annotated[float, number(above=0)] = 1.0
    seed: Annotated[int, whole(0, 2**63 - 1)] = 42  # what torch takes
    # Where they learn
    threads: Annotated[int, whole(1)] = 1
    device: str = "cpu"
    precision: Literal["fp32", "bf16"] = "fp32"

    def __post_init__(self) -> None:
        require_fields(self)
        members_of(self.architecture)  # refuses what nobody registered
        _ = self.lookback  # refuses features that have a column in common
        _ = self.labelling  # refuses labels without what they need
        _ = self.preprocessor  # refuses wrong shares and lengths
        if self.outcome == "relative":
            require(vars(self), {"fewest_instruments": whole(FEWEST_COMPARED)})
            if self.label not in MOVES:
                raise ValueError(
                    f"`outcome` must be 'direction' with label={self.label!r}, got 'relative': "
                    "only moves are compared with those of others. Leave one of them out."
                )
        if self.device != "cpu":  # which is always there
            require_device(self.device)

    @property
    def preprocessor(self) -> DataPreprocessor:
        """The cutting and splitting that these settings describe."""
        return DataPreprocessor(
            self.sequence_length,
            self.train,
            self.validation,
            self.labelling.label,
            self.horizon,
            self.lookback,
        )

    @property
    def labelling(self) -> Labelling:
        """What is predicted, as bars are labelled with it."""
        given = {name: getattr(self, name) for name in Barrier.__dataclass_fields__}
        if self.label == BARRIER:
            return Labelling(self.label, self.horizon, Barrier(**given))
        if idle := [name for name, value in given.items() if value]:
            raise ValueError(
                f"{', '.join(f'`{name}`' for name in idle)} must be left out with "
                f"label={self.label!r}: only a barrier has levels and costs. Give label='barrier'."
            )
        if self.label not in MOVES:
            return Labelling(OWN, self.horizon, own=own_label(self.label).record)
        return Labelling(self.label, self.horizon)

    @property
    def own(self) -> list[KnownFeature]:
        """The features of one's own."""
        return own_features(self.features)

    def engineer(self, context: ContextRecord | None = None) -> FeatureEngineer:
        """Return what turns bars into the feature rows that these settings describe.

        Parameters
        ----------
        context
            The other series that are joined to the bars: their attribute of that name.

        Returns
        -------
        FeatureEngineer
            The same for bars of all instruments.
        """
        return FeatureEngineer(self.own, only=self.only, context=context)

    @property
    def lookback(self) -> int:
        """Bars behind a feature row, its own included."""
        return layout([one.record for one in self.own], only=self.only).lookback

    @property
    def member(self) -> str:
        """The name of the member that these settings, if they are those of a single one, train."""
        return f"{self.architecture} {self.seed}"

    def described(self) -> dict[str, str | float | int | bool | None]:
        """Return the settings by name: equal ones, equal trainings of the same bars.

        Returns
        -------
        dict
            Features of one's own are described by name, parameters and the digest of their source,
            wherever their files lie.
        """
        own = self.labelling.own
        label = self.label if own is None else f"{own} {own.source[:16]}"
        return asdict(self) | {"features": identities(self.own), "label": label}

    def without_test(self) -> "TrainConfig":
        """Return the same settings with the test part given to training.

        For a model that is to trade the next bar: nothing is left to judge it on.

        Returns
        -------
        TrainConfig
            Its shares of training and validation sum to 1.
        """
        # 1 - 0.9 is 0.09999999999999998 in binary, and would stand so in the checkpoint.
        return replace(self, train=round(1 - self.validation, 12))


def member_configs(config: TrainConfig) -> list[TrainConfig]:
    """Return the settings of each member: one of each architecture for each seed, in order.

    Parameters
    ----------
    config
        Settings of a whole model, perhaps an ensemble, perhaps with several seeds.

    Returns
    -------
    list of TrainConfig
        Each with one architecture and one seed; `combine` joins what `fit` makes of them.

    Examples
    --------
    >>> [one.member for one in member_configs(TrainConfig(architecture="ensemble"))]
    ['bilstm 42', 'transformer 42']
    """
    return [
        replace(config, architecture=name, seed=config.seed + number, seeds=1)
        for name in members_of(config.architecture)
        for number in range(config.seeds)
    ]


def require_device(device: str) -> None:
    """Refuse a device on which torch cannot compute here."""
    import torch  # here, as nobody else who states settings has to wait for it

    try:
        # "meta" makes tensors, but none that holds a number.
        torch.zeros(1, device=str(device)).item()
    except (RuntimeError, AssertionError) as error:
        # A wrong name, a device that is not there, a build of torch without it.
        raise ValueError(
            f"`device` must be one that torch can use here, got {device!r}. Take cpu."
        ) from error
