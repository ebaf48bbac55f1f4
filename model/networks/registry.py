"""The architectures by name, and the door for a network of one's own."""

from collections.abc import Callable
from dataclasses import asdict, fields, is_dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, NamedTuple, get_type_hints

import msgspec

from model import networks
from model.errors import UnknownArchitecture

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

ENSEMBLE = "ensemble"  # one member of each of the built-in architectures
MOST_MEMBERS = 16  # of one model
# Entry points of an installed package: `name = package.module:ARCHITECTURE`.
GROUP = "backtrader_bilstm.architectures"


class Architecture(NamedTuple):
    """A network class, and the dataclass of numbers that it is rebuilt from."""

    network: "type[networks.DirectionNetwork]"
    config: "type[DataclassInstance]"


# Asked when one is made: whoever only checks a name, as the flags do, does not wait for torch.
BUILT_IN: dict[str, Callable[[], Architecture]] = {
    "bilstm": lambda: Architecture(networks.BiLSTMClassifier, networks.NetworkConfig),
    "transformer": lambda: Architecture(networks.TransformerClassifier, networks.TransformerConfig),
}
_registered: dict[str, Architecture] = {}


def register(
    name: str, network: "type[networks.DirectionNetwork]", config: "type[DataclassInstance]"
) -> None:
    """Make a network known by a name, to be trained, saved, loaded and traded like the others.

    This holds for this process. An installed package makes its networks known to all processes and
    commands by entry points of the group `backtrader_bilstm.architectures`.

    Parameters
    ----------
    name
        A plain word that is free.
    network
        A class made from `DirectionNetwork`; `config` is its only argument.
    config
        A frozen dataclass of numbers, all with defaults. A field `features` or `sequence_length`
        gets the columns or rows of the windows. Its __post_init__ should bound each number: a file
        with a network of terabytes is then refused by its first words.

    Raises
    ------
    ValueError
        For a name that is taken, and for a config that a file cannot hold, with the field; where
        the config cannot be made without arguments, `fit` raises it before it trains.

    Examples
    --------
    >>> @dataclass(frozen=True)
    ... class SmallConfig(NetworkConfig):
    ...     hidden: int = 16
    >>> class SmallBiLSTM(BiLSTMClassifier):
    ...     pass
    >>> register("small_bilstm", SmallBiLSTM, SmallConfig)
    >>> TrainConfig(architecture="small_bilstm").member
    'small_bilstm 42'
    """
    if name == ENSEMBLE or not name.isidentifier():
        raise ValueError(
            f"`name` must be a plain word and not {ENSEMBLE!r}, got {name!r}. Choose another."
        )
    if not (isinstance(network, type) and issubclass(network, networks.DirectionNetwork)):
        raise ValueError(f"`network` must be a class made from DirectionNetwork, got {network!r}.")
    if not (isinstance(config, type) and is_dataclass(config)):
        raise ValueError(f"`config` must be a dataclass, got {config!r}.")
    try:
        usual = config()
    except (TypeError, ValueError):
        usual = None  # made with the shape of the windows, by `fit`, which checks it then
    if usual is not None:
        require_storable(name, usual, config)
    wanted = Architecture(network, config)
    known = BUILT_IN[name]() if name in BUILT_IN else _registered.setdefault(name, wanted)
    if known != wanted:
        raise ValueError(
            f"`name` must be free, got {name!r}, which is {known.network.__name__}. Choose another."
        )


def require_storable(
    name: str, config: "DataclassInstance", kind: "type[DataclassInstance]"
) -> None:
    """Refuse a config that a file cannot give back as it was; the ValueError names the field."""
    if type(config) is not kind:
        raise ValueError(
            f"the network of {name!r} must hand the {kind.__name__} it is given to "
            f"super().__init__, got {config!r}. Mend its __init__."
        )
    try:
        types = get_type_hints(kind, include_extras=True)
    except NameError as error:
        raise ValueError(
            f"the types of {kind.__name__} must be known where it is defined, got: {error}. "
            "Define and import them at the top of its module."
        ) from error
    for field in fields(kind):
        value = getattr(config, field.name)
        if fault := _storage_fault(value, types[field.name]):
            raise ValueError(
                f"`{field.name}` of {kind.__name__} must be a number, a text or another value "
                f"that a checkpoint's JSON gives back as it was, got {value!r} ({fault}). "
                "Keep it as a number or a text and make the object from it in the network."
            )
    if fault := _storage_fault(config, kind):
        raise ValueError(
            f"{kind.__name__} must be made again, equal, from its fields, "
            f"got {config!r} ({fault}). Let its __init__ take every field and change none."
        )


def _storage_fault(value: object, kind: object) -> str:
    """Return why a value does not come back from JSON as it was, "" where it does."""
    if isinstance(value, set | frozenset):
        return "a set has no order"
    try:
        stored = msgspec.json.decode(msgspec.json.encode(value), type=kind)
    except MemoryError:
        raise
    except Exception as error:  # whatever a class of somebody else's raises
        return str(error).rstrip(".")
    # Field by field: a dataclass of somebody else's may compare in a way of its own.
    found, wanted = (
        asdict(one) if is_dataclass(one) and not isinstance(one, type) else one
        for one in (stored, value)
    )
    return "" if found == wanted else f"it would come back as {stored!r}"


def architecture(name: str) -> Architecture:
    """Return what is registered under a name, here or by an installed package.

    Raises UnknownArchitecture where nothing is, or where the installed package's cannot be.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]()
    if name not in _registered:
        for point in entry_points(group=GROUP, name=name):
            try:
                register(name, *point.load())
            except MemoryError:
                raise
            except Exception as error:  # whatever a package of somebody else's raises
                reason = str(error).rstrip(".")
                raise UnknownArchitecture(
                    f"`architecture` must be one that can be registered, got {name!r}, which an "
                    f"installed package has as {point.value}: {reason}. Mend that package."
                ) from error
    if name not in _registered:
        known = ", ".join((*BUILT_IN, *_registered, ENSEMBLE))
        raise UnknownArchitecture(
            f"`architecture` must be one of {known}, got {name!r}. "
            "Register a network of your own with model.register."
        )
    return _registered[name]


def members_of(name: str) -> tuple[str, ...]:
    """Return the architectures of a name: itself, or for "ensemble" each of the built-in ones.

    Raises UnknownArchitecture for a name that nobody registered.
    """
    if name == ENSEMBLE:
        return tuple(BUILT_IN)
    if name not in BUILT_IN:
        architecture(name)
    return (name,)


def architectures_of(text: str) -> list[str]:
    """Return the names of a text that separates them by commas.

    ValueError where one stands twice, UnknownArchitecture for one that nobody registered.
    """
    names = [name.strip() for name in text.split(",")]
    if len(set(names)) < len(names):
        raise ValueError(f"`architecture` must name each but once, got {text}.")
    for name in names:
        members_of(name)
    return names


def make_config(name: str, **shape: int) -> "DataclassInstance":
    """Return the config with which an architecture reads windows of a shape.

    A part of the shape that it has no field for it need not know.
    """
    config = architecture(name).config
    known = {field.name: shape[field.name] for field in fields(config) if field.name in shape}
    return config(**known)


def make_network(name: str, config: "DataclassInstance") -> "networks.DirectionNetwork":
    """Return a network with initial weights."""
    return architecture(name).network(config)


def make_network_without_weights(
    name: str, config: "DataclassInstance"
) -> "networks.DirectionNetwork":
    """Return a network that has shapes, but neither memory nor values for its weights."""
    import torch  # here, as names and settings are known without it

    with torch.device("meta"):
        return make_network(name, config)
