"""A plain PyTorch training loop, as it is usually written: a rival of the benchmark.

Of ours it has the starting weights only.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from model.features.table import FEATURE_NAMES
from model.networks.bilstm import FIRST_LAYER_SHARE, BiLSTMClassifier, NetworkConfig

LENGTH, BATCH, RATE, DECAY, CLIP = 50, 64, 1e-3, 1e-4, 1.0


class PlainLSTM(nn.Module):
    """The network of the checkpoints: its weights have the same names."""

    def __init__(
        self, features: int = 86, hidden: int = 128, layers: int = 2, dropout: float = 0.2
    ) -> None:
        super().__init__()
        self.lstm = nn.LSTM(
            features, hidden, layers, batch_first=True, dropout=dropout, bidirectional=True
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * hidden, 1)

    def forward(self, windows: Tensor) -> Tensor:
        _, (states, _) = self.lstm(windows)
        logits: Tensor = self.head(
            self.dropout(torch.cat((states[-2], states[-1]), dim=1))
        ).squeeze(1)
        return logits


class Windows(Dataset[tuple[Tensor, Tensor]]):
    """Each window with its target; window n begins with row n, or with the n-th of the starts."""

    def __init__(
        self,
        rows: NDArray[np.float32],
        targets: NDArray[np.float64],
        starts: NDArray[np.int64] | None = None,
    ) -> None:
        self.rows, self.targets = torch.from_numpy(rows), torch.tensor(targets, dtype=torch.float32)
        self.starts = range(len(targets)) if starts is None else starts.tolist()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        start = self.starts[number]
        return self.rows[start : start + LENGTH], self.targets[number]


# Scaled feature rows and the targets of their windows; of several instruments also their starts.
Part = (
    tuple[NDArray[np.float32], NDArray[np.float64]]
    | tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.int64]]
)


def train(
    weights: Mapping[str, Tensor], training: Part, validation: Part, epochs: int
) -> tuple[PlainLSTM, list[float]]:
    """Train from the given weights; return the network and the mean training loss of each epoch."""
    state = torch.get_rng_state()
    network = PlainLSTM()
    network.load_state_dict(weights)
    torch.set_rng_state(state)  # making the network drew numbers
    # Our recipe lets the first layer learn at a share of the rate; so does the rival, for equal
    # losses.
    first = [weights for name, weights in network.lstm.named_parameters() if "_l0" in name]
    known = {id(weights) for weights in first}
    rest = [weights for weights in network.parameters() if id(weights) not in known]
    groups = [{"params": rest, "lr": RATE}, {"params": first, "lr": RATE * FIRST_LAYER_SHARE}]
    optimizer = torch.optim.AdamW(groups, weight_decay=DECAY)
    loaders = [DataLoader(Windows(*part), batch_size=BATCH) for part in (training, validation)]
    return network, list(epochs_of(network, optimizer, loaders, epochs))


def epochs_of(
    network: PlainLSTM,
    optimizer: torch.optim.Optimizer,
    loaders: list[DataLoader[tuple[Tensor, Tensor]]],
    epochs: int,
) -> Iterator[float]:
    loss_of = nn.BCEWithLogitsLoss()
    for _ in range(epochs):
        network.train()
        total, count = 0.0, 0
        for windows, targets in loaders[0]:
            # The usual order of a loop in PyTorch's own tutorials.
            optimizer.zero_grad()
            loss = loss_of(network(windows), targets)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), CLIP)
            optimizer.step()
            total, count = total + loss.item() * len(targets), count + len(targets)
        network.eval()
        with torch.no_grad():
            sum(loss_of(network(windows), labels).item() for windows, labels in loaders[1])
        yield total / count


def start_weights(seed: int = 42) -> dict[str, Tensor]:
    """Return the weights that our training starts from with this seed.

    torch's random numbers are left where our training leaves them, for dropout draws from them.
    """
    torch.manual_seed(seed)
    network = BiLSTMClassifier(NetworkConfig())
    network.start(FEATURE_NAMES)
    return dict(network.state_dict())


def parts_of(
    features: NDArray[np.float64], labels: NDArray[np.float64]
) -> tuple[Part, Part, NDArray[np.float64]]:
    """Return the training part, the validation part, and the rows that the scaler is fitted on.

    Four fifths of the windows are trained on.

    One window between them is left out: its label is not known yet where validation begins.
    """
    first = int(0.8 * len(labels))
    fitted = features[: first - 1 + LENGTH - 1]
    rows = standardised(features, fitted)
    training, validation = (
        (rows[part.start : part.stop + LENGTH - 1], labels[part])
        for part in (slice(0, first - 1), slice(first, len(labels)))
    )
    return training, validation, fitted


def pooled_parts_of(
    features: Sequence[NDArray[np.float64]], labels: Sequence[NDArray[np.float64]]
) -> tuple[Part, Part, NDArray[np.float64]]:
    """Return the same of several instruments with bars on the same dates, date by date."""
    dates = len(labels[0])
    first = int(0.8 * dates)
    fitted = np.concatenate([own[: first - 1 + LENGTH - 1] for own in features])
    rows = np.concatenate([standardised(own, fitted) for own in features])
    beginnings = np.cumsum([0, *(len(own) for own in features[:-1])])
    starts, of_date = np.add.outer(np.arange(dates), beginnings), np.column_stack(labels)
    training, validation = (
        (rows, of_date[part].ravel(), starts[part].ravel())
        for part in (slice(0, first - 1), slice(first, dates))
    )
    return training, validation, fitted


def standardised(features: NDArray[np.float64], fitted: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return features scaled by mean and deviation of the training rows, clipped to +-8."""
    mean, deviation = fitted.mean(axis=0), fitted.std(axis=0)
    scaled = (features - mean) / np.where(deviation < 1e-8, 1.0, deviation)
    rows: NDArray[np.float32] = np.clip(scaled, -8, 8).astype(np.float32)
    return rows


def next_opens_rise(opens: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each bar whether a position decided at its close gains.

    The open after next above the next; NaN at the end.
    """
    rises = np.full(len(opens), np.nan)
    rises[:-2] = opens[2:] > opens[1:-1]
    return rises


def predict(network: PlainLSTM, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the probability of each window of scaled rows, one forward a window."""
    network.eval()
    with torch.no_grad():
        logits = [
            float(network(torch.from_numpy(rows[start : start + LENGTH])[None]))
            for start in range(len(rows) - LENGTH + 1)
        ]
    probabilities: NDArray[np.float64] = 1 / (1 + np.exp(-np.array(logits)))
    return probabilities
