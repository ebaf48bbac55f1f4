from .baselines import BASELINES as BASELINES
from .baselines import learner_probabilities as learner_probabilities
from .baselines import pooled_probabilities as pooled_probabilities
from .books import Books as Books
from .decisions import STRATEGY as STRATEGY
from .decisions import decisions_of as decisions_of
from .evidence import Trials as Trials
from .evidence import evidence_of as evidence_of
from .evidence import sharpe_figures as sharpe_figures
from .overfitting import overfitting_probability as overfitting_probability
from .panel import panel_of as panel_of
from .returns_file import read_returns as read_returns
from .searched import SEARCH as SEARCH
from .searched import Searched as Searched
from .searched import read_searched as read_searched
from .searched import searched_past as searched_past
from .verdict import EDGE as EDGE
from .verdict import NO_COST as NO_COST
from .verdict import Word as Word
from .verdict import judge as judge
from .verdict import judge_book as judge_book

__all__: list[str]
