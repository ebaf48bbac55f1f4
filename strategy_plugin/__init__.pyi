from .analyzers import SignalQuality as SignalQuality
from .book import BookStrategy as BookStrategy
from .decision import target as target
from .guard import BarGuard as BarGuard
from .guard import TradingWarning as TradingWarning
from .indicator import DirectionProbability as DirectionProbability
from .indicator import FeatureBuffer as FeatureBuffer
from .indicator import Schedule as Schedule
from .peers import Peers as Peers
from .replaying import replay as replay
from .settling import SettlingBroker as SettlingBroker
from .sizers import CappedKelly as CappedKelly
from .sizers import EquityShare as EquityShare
from .sizers import FractionalCommission as FractionalCommission
from .sizers import VolatilityTarget as VolatilityTarget
from .strategy import BiLSTMStrategy as BiLSTMStrategy

__all__: list[str]
