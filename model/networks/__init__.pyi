from .bilstm import BiLSTMClassifier as BiLSTMClassifier
from .bilstm import DirectionNetwork as DirectionNetwork
from .bilstm import NetworkConfig as NetworkConfig
from .transformer import TransformerClassifier as TransformerClassifier
from .transformer import TransformerConfig as TransformerConfig

__all__: list[str]
