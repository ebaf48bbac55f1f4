"""One window through weights laid out beforehand gives the very bits of the LSTM that they belong to."""
from collections.abc import Callable

import pytest
import torch

from model.network import BiLSTMClassifier, NetworkConfig
from model.packed import PackedLSTM

needs_onednn = pytest.mark.skipif(not PackedLSTM.is_possible(), reason="torch was built without oneDNN")
Twins = Callable[..., tuple[BiLSTMClassifier, BiLSTMClassifier]]


@pytest.fixture
def twins() -> Twins:
    """Two networks with the same weights, of which the second is ready to serve."""
    def make(**sizes: int) -> tuple[BiLSTMClassifier, BiLSTMClassifier]:
        torch.manual_seed(0)
        plain, serving = (BiLSTMClassifier(NetworkConfig(**sizes)).eval().requires_grad_(False) for _ in range(2))
        serving.load_state_dict(plain.state_dict())
        serving.serve()
        return plain, serving

    return make


@needs_onednn
@pytest.mark.parametrize("sizes", [{}, {"layers": 1}, {"layers": 3, "hidden": 33}, {"features": 3, "hidden": 1}], ids=str)
@pytest.mark.parametrize("rows", [50, 1, 7])
@torch.inference_mode()
def test_the_bits_are_those_of_the_lstm(sizes: dict[str, int], rows: int, twins: Twins) -> None:
    plain, serving = twins(**sizes)
    for window in torch.randn(5, 1, rows, plain.config.features):
        assert torch.equal(serving(window), plain(window))


@needs_onednn
@torch.inference_mode()
def test_a_window_that_is_a_view_has_the_same_bits(twins: Twins) -> None:
    plain, serving = twins()
    view = torch.randn(60, 86).unfold(0, 50, 1).transpose(1, 2)[4:5]
    assert torch.equal(serving(view), plain(view.contiguous()))


@torch.inference_mode()
def test_many_windows_take_the_lstm_itself(twins: Twins, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, serving = twins(hidden=6)
    monkeypatch.setattr(PackedLSTM, "__call__", lambda *_: pytest.fail("packed"))
    windows = torch.randn(2, 50, 86)
    assert torch.equal(serving(windows), plain(windows))


@torch.inference_mode()
def test_where_torch_cannot_lay_weights_out_the_lstm_serves(twins: Twins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    plain, serving = twins(hidden=6)
    window = torch.randn(1, 50, 86)
    assert not PackedLSTM.is_possible() and torch.equal(serving(window), plain(window))


def test_what_is_saved_of_a_network_does_not_change_as_it_serves(twins: Twins) -> None:
    plain, serving = twins(hidden=6)
    assert list(serving.state_dict()) == list(plain.state_dict())
