"""Training, our way and the plain way, on the same data with the same arithmetic.

Sides of the benchmark.
"""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
import torch

from backtests.benchmarks import plain
from backtests.benchmarks.pybroker import CUTS, EPOCHS
from backtests.benchmarks.rounds import Round, Work, scratch
from backtests.synthetic.markets import market
from backtests.walk_forward.folds import (
    Fold,
    FoldModel,
    FoldPlan,
    MemberTask,
    lay_folds,
    trade,
    train_tasks,
)
from model.bars.sample import sample_bars
from model.bars.universe import Bars
from model.features.table import FEATURE_NAMES, LOOKBACK, FeatureEngineer
from model.networks.bilstm import BiLSTMClassifier, NetworkConfig
from model.runtime import Precision, keep_freed_memory, torch_threads
from model.training.config import TrainConfig
from model.training.data import TrainingData, prepare
from model.training.fitting import fit
from model.training.loop import optimise

CONFIG = TrainConfig(  # what the plain loop does
    train=0.9,
    validation=0.1,
    max_epochs=1,
    label_softness=0.0,
    warm_up=0,
    sequence_length=plain.LENGTH,
    batch_size=plain.BATCH,
    learning_rate=plain.RATE,
    weight_decay=plain.DECAY,
    gradient_clip=plain.CLIP,
)
WINDOW = LOOKBACK + plain.LENGTH - 1  # bars before the first decision, that bar included
# Three trainings that differ in nothing else show how far losses scatter by themselves.
SEEDS = (1, 2, 3)


def steps_ours(windows: int, precision: Precision = "fp32") -> Round:
    """Return an epoch of our loop over as many windows."""
    keep_freed_memory()
    data = training_data(windows, precision)

    def play(number: int) -> Work:
        network = fresh_network(number)
        training = data.train.loader(data.train.targets, data.config.batch_size)
        validation = data.validation.loader(data.validation.labels, data.config.batch_size)
        with torch_threads(1):
            result = optimise(network, training, validation, data.config)
        return Work(len(data.train), [result.history[0].train_loss])

    return play


def steps_plain(windows: int) -> Round:
    """Return an epoch of the plain loop over as many windows.

    Its process is as torch made it, but for the one thread.
    """
    data = training_data(windows)
    parts = [(part.rows, part.labels) for part in (data.train, data.validation)]

    def play(number: int) -> Work:
        weights = plain.start_weights(number)
        with torch_threads(1):
            _, losses = plain.train(weights, parts[0], parts[1], epochs=1)
        return Work(len(data.train), losses)

    return play


def training_data(windows: int, precision: Precision = "fp32") -> TrainingData:
    bars = market("echo", WINDOW + 2 + round(windows / CONFIG.train)).bars
    return prepare(bars, replace(CONFIG, precision=precision))


def fresh_network(seed: int) -> BiLSTMClassifier:
    torch.manual_seed(seed)
    network = BiLSTMClassifier(NetworkConfig())
    network.start(FEATURE_NAMES)
    return network


def folds_ours(bars: int, precision: Precision = "fp32") -> Round:
    """Return all folds of a walk-forward, two epochs each, in two processes."""
    config = plan_of(bars).training(replace(CONFIG, max_epochs=EPOCHS, precision=precision))
    sample = sample_bars().iloc[-bars:]
    folds = lay_folds(sample, plan_of(bars), config)

    def play(number: int) -> Work:
        pasts = [fold.past(sample) for fold in folds]
        return Work(len(folds), last_losses(trained(pasts, folds, config, jobs=2)))

    return play


def trained(
    pasts: Sequence[Bars], folds: Sequence[Fold], config: TrainConfig, jobs: int = 1
) -> list[FoldModel]:
    """Return the models of the folds, in order, without thresholds and importances.

    The rivals have none.
    """
    tasks = {
        MemberTask(past, config, str(fold.number)): fold
        for past, fold in zip(pasts, folds, strict=True)
    }
    models = [
        FoldModel(tasks[task], outcome.member)
        for task, outcome in train_tasks(list(tasks), jobs=jobs)
        if outcome.member and isinstance(task, MemberTask)
    ]
    return sorted(models, key=lambda model: model.fold.number)


def last_losses(models: Sequence[FoldModel]) -> list[float]:
    """Return the training loss of each model's last epoch."""
    return [
        model.checkpoint.members[0].history[-1]["train_loss"]
        for model in models
        if model.checkpoint
    ]


def folds_plain(bars: int) -> Round:
    """Return the same folds in turn, with as many threads as torch takes by itself."""
    sample, plan = sample_bars().iloc[-bars:], plan_of(bars)
    folds = lay_folds(sample, plan, plan.training(CONFIG))

    def play(number: int) -> Work:
        return Work(len(folds), [plain_fold(fold, fold.past(sample)) for fold in folds])

    return play


def plain_fold(fold: Fold, past: pd.DataFrame) -> float:
    """Return the training loss of the last epoch on a fold's past."""
    features = FeatureEngineer().transform(past).to_numpy()
    labels = plain.next_opens_rise(past["open"].to_numpy())[WINDOW - 1 : -2]
    training, validation, _ = plain.parts_of(features, labels)
    _, losses = plain.train(plain.start_weights(CONFIG.seed), training, validation, EPOCHS)
    return losses[-1]


def plan_of(bars: int) -> FoldPlan:
    """Return the default plan, or for few bars a single fold."""
    return FoldPlan() if bars > 2_000 else FoldPlan(folds=1, train_blocks=3)


def ends(bars: int, precision: Precision = "fp32") -> Round:
    """Return trainings of three seeds to their end by early stopping, with their best losses."""
    # A faint pattern: on a strong one every precision would come to the same loss.
    sample = market("echo", bars, strength=0.5).bars
    epochs = 12 if bars > 1_000 else 1

    def play(number: int) -> Work:
        configs = [
            TrainConfig(seed=seed, max_epochs=epochs, patience=3, precision=precision)
            for seed in SEEDS
        ]
        losses = [
            min(epoch["validation_loss"] for epoch in fit(sample, config).members[0].history)
            for config in configs
        ]
        return Work(len(SEEDS), losses)

    return play


def walk_ours(bars: int, precision: Precision = "fp32") -> Round:
    """Return PyBroker's windows as folds, in one process, with all their trades in Backtrader."""
    config = FoldPlan().training(replace(CONFIG, max_epochs=EPOCHS, precision=precision))

    def play(number: int) -> Work:
        sample = sample_bars().iloc[-bars:]
        folds, folder = folds_of(bars), scratch() / f"walk-{precision}"
        models = trained([fold.past(sample) for fold in folds], folds, config)
        folder.mkdir(exist_ok=True)
        for model in models:
            if model.checkpoint:
                model.checkpoint.save(folder / model.name)
        trade(sample, models, folder)
        return Work(1, last_losses(models))

    return play


def folds_of(bars: int) -> list[Fold]:
    """Return the folds with the training windows and test bars of PyBroker's model."""
    windows, train, test = CUTS[bars]
    # PyBroker cuts from the end, so that the last test window ends on the last bar.
    starts = [bars - test * (windows - number) for number in range(windows)]
    # A past ends with the bar of its first decision. PyBroker's ends one bar earlier, so ours may
    # decide there already.
    return [
        Fold(number, start - train + plain.LENGTH - 1, start - 1, start + test - 1, WINDOW - 1)
        for number, start in enumerate(starts, 1)
    ]
