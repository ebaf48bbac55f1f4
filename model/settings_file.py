"""Settings as a file: TOML that a command takes in the place of flags, and writes of itself."""

import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from inspect import BoundArguments
from pathlib import Path
from typing import Annotated, get_args

import tomli_w
from cyclopts import App, ArgumentCollection, CycloptsError, Group, Parameter
from cyclopts.config import Toml

from model.errors import SettingsFileError

SETTINGS = "settings.toml"  # in the folder of a run
OF_COMMAND = {"config", "print_config"}  # what a file cannot set: it is read by them
PANEL = Group("Settings", sort_key=20)
HEAD = re.compile(r"# Settings of (.+), which takes them with --config\.")
FRACTION = re.compile(r"[-+]?(\d+\.\d*|\.\d+)")


def configurable(app: App) -> App:
    """Return the command with --config and --print-config, which every one of them takes."""
    # One that only leads to others has no settings.
    if not app.default_command:
        return app
    if not app.meta.default_command:
        app.meta.default(partial(_with_settings, app))
    return app.meta


def _with_settings(
    app: App,
    *flags: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    config: Annotated[Path | None, Parameter(group=PANEL)] = None,
    print_config: Annotated[bool, Parameter(group=PANEL, negative=())] = False,
) -> object:
    """Run the command with its flags, and the settings of a file where no flag is given.

    Parameters
    ----------
    config
        A file of settings in TOML, as each run leaves one; flags win over it.
    print_config
        Print the settings that would be used, as such a file, and do nothing else.
    """
    try:
        _use_file(app, config)
        command, bound, ignored = app.parse_args(flags, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        token = getattr(error, "token", None)
        # A flag that is refused is wrong use; a setting in a file is a file that cannot be used.
        if token is None or token.source in ("", "cli"):
            raise
        raise SettingsFileError(f"{error}{_other_command(app, config)}") from error
    finally:
        # The next call in this process would read the file before its own flags.
        app.config = []
    text = settings_text(app, bound)
    if print_config:
        print(text, end="")
        return 0
    # A command that writes them has a parameter of this name, which is no flag.
    if "settings_file" in ignored:
        bound.arguments["settings_file"] = text
    return command(*bound.args, **bound.kwargs)


def _use_file(app: App, path: Path | None) -> None:
    """Let the command take its settings from the file, where there is one; flags win over it.

    Raises SettingsFileError for a file that is not there, or no TOML.
    """
    app.config = [_require_whole]
    if path is None:
        return
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SettingsFileError(f"{path} must be a file of settings in TOML: {reason}.") from error
    # The library would pass over them without a word.
    if named := sorted(OF_COMMAND & {name.replace("-", "_") for name in found}):
        raise SettingsFileError(
            f"{path} must not hold {', '.join(named)}, which name the file itself. Take them out."
        )
    app.config = [Toml(path, must_exist=True), _require_whole]


def _other_command(app: App, path: Path | None) -> str:
    """Say whose settings a file has, where its first line names another command."""
    found = HEAD.match(path.read_text(encoding="utf-8")) if path else None
    if found is None or found[1] == app.name[0]:
        return ""
    return f" The file has the settings of {found[1]}: give it to that."


def _require_whole(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Refuse 1.5 where a whole number is asked for, which the library would round to 2."""
    for argument in arguments:
        if {int, float} & {argument.hint, *get_args(argument.hint)} != {int}:
            continue
        for token in argument.tokens:
            value = str(token.value)
            if FRACTION.fullmatch(value) and not float(value).is_integer():
                what = f"must be a whole number, got {value}"
                if token.source not in ("", "cli"):
                    name = argument.name.removeprefix("--").replace("-", "_")
                    raise SettingsFileError(f"{name} {what}, from {token.source}.")
                raise ValueError(f"{argument.name} {what}.")


def settings_text(app: App, bound: BoundArguments) -> str:
    """Return what a command runs with as the text of a settings file, which makes it so again.

    What has no value is left out: TOML has no null, and it is the default wherever it may be.
    """
    bound.apply_defaults()
    values: dict[str, object] = {}
    for parameter in app.assemble_argument_collection(parse_docstring=False):
        # What has keys is a field of a class, reached through the parameter that it belongs to.
        if parameter.keys:
            continue
        value = bound.arguments[parameter.field_info.name]
        for argument in parameter.children or [parameter]:
            # Of a class that none of the flags asks for there is no value.
            found = getattr(value, argument.keys[0], None) if argument.keys else value
            # A positional one is no setting: it stands on the command line.
            if argument.parse and argument.name.startswith("--") and found is not None:
                values[argument.name.removeprefix("--").replace("-", "_")] = _plain(found)
    return _headed(app.name[0], values)


def settings_for(
    command: str, text: str, but: Collection[str], values: Mapping[str, object]
) -> str:
    """Return the settings file of another command, of one that has the same settings and more.

    but: which settings of the text that command does not have. values: those to put in their place.
    """
    kept = {name: value for name, value in tomllib.loads(text).items() if name not in but}
    return _headed(command, kept | dict(values))


def _headed(command: str, values: Mapping[str, object]) -> str:
    return f"# Settings of {command}, which takes them with --config.\n{tomli_w.dumps(values)}"


def _plain(value: object) -> object:
    """Return a setting as TOML has it; a path so that it is found from any folder."""
    if isinstance(value, Path):
        return str(value.absolute())
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(one) for one in value]
    return value
