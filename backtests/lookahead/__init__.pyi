from .checkpoint_checks import CheckpointChecks as CheckpointChecks
from .checks import Cuts as Cuts
from .checks import PipelineChecks as PipelineChecks

__all__: list[str]
