"""The Transformer: its size, what each row may see, and that a window is judged alone."""

from typing import Any

import pytest
import torch
from torch import Tensor

from backtests.synthetic.control import Control, measure
from backtests.synthetic.markets import market
from model.networks.transformer import (
    SequenceDropout,
    TransformerClassifier,
    TransformerConfig,
    sinusoids,
)
from model.training.config import TrainConfig
from model.training.fitting import fit


@pytest.fixture(scope="module")
def network() -> TransformerClassifier:
    torch.manual_seed(0)
    return TransformerClassifier().eval()


@pytest.fixture(scope="module")
def windows() -> Tensor:
    return torch.randn(300, 50, 86, generator=torch.Generator().manual_seed(1))


def test_the_default_network_has_407809_trainable_parameters(
    network: TransformerClassifier,
) -> None:
    assert (
        sum(weights.numel() for weights in network.parameters() if weights.requires_grad) == 407_809
    )


def test_the_positions_are_no_weights(network: TransformerClassifier) -> None:
    assert sorted({name.partition(".")[0] for name in network.state_dict()}) == [
        "embedding",
        "head",
        "layers",
    ]


@pytest.mark.parametrize("batch", [1, 7])
def test_a_batch_of_windows_becomes_one_logit_each(
    network: TransformerClassifier, windows: Tensor, batch: int
) -> None:
    assert network(windows[:batch]).shape == (batch,)


def test_a_window_alone_says_what_it_says_among_others(
    network: TransformerClassifier, windows: Tensor
) -> None:
    with torch.inference_mode():
        alone = torch.cat([network(window[None]) for window in windows[:40]])
        assert torch.allclose(network(windows)[:40], alone, rtol=0, atol=1e-6)


def test_a_second_call_says_the_same(network: TransformerClassifier, windows: Tensor) -> None:
    assert torch.equal(network(windows), network(windows))


@pytest.mark.parametrize("changed", [1, 25, 49])
def test_in_a_layer_a_row_knows_itself_and_those_before_it_only(
    network: TransformerClassifier, changed: int
) -> None:
    states = torch.randn(3, 50, 128, generator=torch.Generator().manual_seed(2))
    other = states.clone()
    other[:, changed] += torch.randn(128, generator=torch.Generator().manual_seed(3))
    moved = (network.layers[0](other, other) - network.layers[0](states, states)).abs().amax(dim=2)
    assert bool((moved[:, :changed] == 0).all()) and bool((moved[:, changed:] > 1e-4).all())


def test_in_a_layer_the_last_row_reads_alone_what_it_reads_among_all(
    network: TransformerClassifier,
) -> None:
    states = torch.randn(3, 50, 128, generator=torch.Generator().manual_seed(2))
    layer = network.layers[1]
    assert torch.allclose(
        layer(states[:, -1:], states)[:, 0], layer(states, states)[:, -1], atol=1e-5
    )


def test_dropout_drops_the_same_numbers_of_all_rows() -> None:
    torch.manual_seed(0)
    kept = SequenceDropout(0.4).train()(torch.ones(200, 5, 30))
    assert torch.equal(kept, kept[:, :1].expand_as(kept)) and float(kept.mean()) == pytest.approx(
        1.0, abs=0.05
    )
    assert kept.unique().tolist() == pytest.approx([0.0, 1 / 0.6])


def test_the_first_row_of_the_window_reaches_the_answer(
    network: TransformerClassifier, windows: Tensor
) -> None:
    other = windows[:9].clone()
    other[:, 0] += 1
    assert bool(((network(other) - network(windows[:9])).abs() > 1e-4).all())


def test_the_order_of_the_rows_matters(network: TransformerClassifier, windows: Tensor) -> None:
    turned = torch.cat((windows[:9, :49].flip(1), windows[:9, 49:]), dim=1)
    assert bool(((network(turned) - network(windows[:9])).abs() > 1e-4).all())


def test_dropout_works_in_training_only(windows: Tensor) -> None:
    training = TransformerClassifier(TransformerConfig(dropout=0.5)).train()
    assert not torch.equal(training(windows[:3]), training(windows[:3]))


def test_the_layers_do_not_start_alike(network: TransformerClassifier) -> None:
    one, other = network.layers
    assert not torch.equal(one.get_parameter("wide.weight"), other.get_parameter("wide.weight"))


def test_a_network_that_served_can_be_trained() -> None:
    network = TransformerClassifier(TransformerConfig(width=6, heads=3))
    with torch.inference_mode():
        network(torch.zeros(1, 11, 86))
    network(torch.ones(2, 11, 86)).sum().backward()
    assert all(weights.grad is not None for weights in network.parameters())


def test_every_position_has_its_own_pattern() -> None:
    pattern = sinusoids(50, 128)
    assert torch.allclose(pattern[0, :4], torch.tensor([0.0, 1.0, 0.0, 1.0]))
    assert float(torch.pdist(pattern).min()) > 0.5


def test_a_window_may_have_another_length() -> None:
    assert TransformerClassifier()(torch.zeros(2, 7, 86)).shape == (2,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": 0}, "`features` must be a whole number from 1 to 1024, got 0."),
        ({"width": 4096}, "`width` must be a whole number from 1 to 2048, got 4096."),
        ({"layers": 17}, "`layers` must be a whole number from 1 to 16, got 17."),
        ({"heads": 0}, "`heads` must be a whole number from 1 to 64, got 0."),
        ({"heads": 3}, "`width` must be a multiple of twice the heads, got 128 and 3 heads."),
        (
            {"feed_forward": 10_000},
            "`feed_forward` must be a whole number from 1 to 8192, got 10000.",
        ),
        ({"dropout": 1.0}, "`dropout` must be a number from 0 up to but not including 1, got 1.0."),
    ],
)
def test_a_network_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as refusal:
        TransformerConfig(**changes)
    assert str(refusal.value) == message


def test_it_finds_a_single_bar_far_back_that_a_model_without_memory_does_not() -> None:
    config = TrainConfig(architecture="transformer", batch_size=32, max_epochs=3)
    scores = fit(market("echo", 2_000, 1).bars, config).metrics
    assert (scores["test_auc"] or 0) > (scores["test_logistic_auc"] or 1) + 0.08


REQUIRED = {
    "echo": 0.90,
    "echo:strength=0.5": 0.75,
    "magecho": 0.85,
    "volrev": 0.80,
    "regime": 0.80,
    "latch": 0.80,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REQUIRED)
def test_it_finds_most_of_what_there_is_in_12_000_bars(name: str) -> None:
    config = TrainConfig(architecture="transformer", precision="bf16", max_epochs=15, patience=4)
    found = measure(Control(name, 1, 12_000, 4_000, config))["share"]
    assert isinstance(found, float) and found >= REQUIRED[name]
