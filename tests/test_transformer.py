"""The Transformer: its size, what each row may see, and that a window is judged alone."""
from typing import Any

import pytest
import torch
from torch import Tensor

from model.transformer import TransformerClassifier, TransformerConfig, sinusoids


@pytest.fixture(scope="module")
def network() -> TransformerClassifier:
    torch.manual_seed(0)
    return TransformerClassifier().eval()


@pytest.fixture(scope="module")
def windows() -> Tensor:
    return torch.randn(300, 50, 86, generator=torch.Generator().manual_seed(1))


def test_the_default_network_has_407809_trainable_parameters(network: TransformerClassifier) -> None:
    assert sum(weights.numel() for weights in network.parameters() if weights.requires_grad) == 407_809


def test_the_positions_are_no_weights(network: TransformerClassifier) -> None:
    assert sorted({name.partition(".")[0] for name in network.state_dict()}) == ["embedding", "head", "layers"]


@pytest.mark.parametrize("batch", [1, 7])
def test_a_batch_of_windows_becomes_one_logit_each(network: TransformerClassifier, windows: Tensor, batch: int) -> None:
    assert network(windows[:batch]).shape == (batch,)


def test_a_window_alone_says_what_it_says_among_others(network: TransformerClassifier, windows: Tensor) -> None:
    with torch.inference_mode():
        alone = torch.cat([network(window[None]) for window in windows[:40]])
        assert torch.allclose(network(windows)[:40], alone, rtol=0, atol=1e-6)


def test_a_second_call_says_the_same(network: TransformerClassifier, windows: Tensor) -> None:
    assert torch.equal(network(windows), network(windows))


def test_the_newest_row_is_trained_as_it_serves(network: TransformerClassifier, windows: Tensor) -> None:
    assert torch.allclose(network.training_logits(windows[:9])[:, -1], network(windows[:9]), atol=1e-5)


@pytest.mark.parametrize("changed", [1, 25, 49])
def test_a_row_knows_itself_and_those_before_it_only(network: TransformerClassifier, windows: Tensor, changed: int) -> None:
    other = windows[:3].clone()
    other[:, changed] += 1
    moved = (network.training_logits(other) - network.training_logits(windows[:3])).abs()
    assert bool((moved[:, :changed] == 0).all()) and bool((moved[:, changed:] > 1e-4).all())


def test_the_first_row_of_the_window_reaches_the_answer(network: TransformerClassifier, windows: Tensor) -> None:
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


@pytest.mark.parametrize(("changes", "message"), [
    ({"features": 0}, "`features` must be a whole number from 1 to 1024, got 0."),
    ({"width": 4096}, "`width` must be a whole number from 1 to 2048, got 4096."),
    ({"layers": 17}, "`layers` must be a whole number from 1 to 16, got 17."),
    ({"heads": 0}, "`heads` must be a whole number from 1 to 64, got 0."),
    ({"heads": 3}, "`width` must be a multiple of twice the heads, got 128 and 3 heads."),
    ({"feed_forward": 10_000}, "`feed_forward` must be a whole number from 1 to 8192, got 10000."),
    ({"dropout": 1.0}, "`dropout` must be a number from 0 up to but not including 1, got 1.0."),
])
def test_a_network_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as refusal:
        TransformerConfig(**changes)
    assert str(refusal.value) == message
