"""A direction model inside Backtrader: an indicator, a strategy, sizers and an analyzer.

Names are resolved when they are first used, so that importing the package loads neither torch nor the host.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strategy_plugin.analyzers import SignalQuality
    from strategy_plugin.buffer import FeatureBuffer
    from strategy_plugin.decision import target
    from strategy_plugin.guard import BarGuard, TradingWarning
    from strategy_plugin.indicator import DirectionProbability
    from strategy_plugin.playback import replay
    from strategy_plugin.schedule import Schedule
    from strategy_plugin.sizers import (
        CappedKelly,
        EquityShare,
        FractionalCommission,
        VolatilityTarget,
    )
    from strategy_plugin.strategy import BiLSTMStrategy

__all__ = [
    "BarGuard",
    "BiLSTMStrategy",
    "CappedKelly",
    "DirectionProbability",
    "EquityShare",
    "FeatureBuffer",
    "FractionalCommission",
    "Schedule",
    "SignalQuality",
    "TradingWarning",
    "VolatilityTarget",
    "replay",
    "target",
]

_HOMES = {
    "analyzers": ("SignalQuality",),
    "buffer": ("FeatureBuffer",),
    "decision": ("target",),
    "guard": ("BarGuard", "TradingWarning"),
    "indicator": ("DirectionProbability",),
    "playback": ("replay",),
    "schedule": ("Schedule",),
    "sizers": ("CappedKelly", "EquityShare", "FractionalCommission", "VolatilityTarget"),
    "strategy": ("BiLSTMStrategy",),
}
_HOME_OF = {name: f"strategy_plugin.{home}" for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'strategy_plugin' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return __all__
