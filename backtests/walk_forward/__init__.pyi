from . import workers as workers
from .folds import FoldModel as FoldModel
from .folds import lay_folds as lay_folds
from .folds import predictions as predictions
from .searching import search as search
from .store import lock_folder as lock_folder
from .trainer import FoldsFailed as FoldsFailed
from .trainer import train_all as train_all
from .universe import lay_dated_folds as lay_dated_folds

__all__: list[str]
