"""Loads the configuration: defaults, then file, then environment, then flags; later wins."""

import importlib.util
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from configuration import checks as config_checks
from configuration import environment
from configuration import files as config_file
from configuration import schema as config_schema
from configuration import secrets as config_secrets
from configuration import shape as config_shape
from configuration.environment import Environment
from configuration.errors import ConfigError, Key, Problem
from configuration.known_secrets import KNOWN
from configuration.layers import DEFAULT, Layers, merge_environment
from configuration.secrets import configured_secrets, named_secrets
from configuration.settings import Settings, english_sentences
from configuration.stages import STAGES
from runtime.hosts import use_proxies

USUAL: Final = Path("holdline.yaml")
BUILT_IN: Final = Path(__file__).parent / "defaults" / "holdline.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A usable configuration, and the origin of each value."""

    settings: Settings
    layers: Layers
    file: Path | None  # `None` for the built-in default
    text: str = ""  # content of the file
    warnings: tuple[str, ...] = ()  # one line each, for people


def load(
    config: Path | None = None,
    *,
    flags: Mapping[str, Any] | None = None,
    variables: Environment | None = None,
    keys: bool = True,
) -> Loaded:
    """Return the merged configuration; also learn its secrets, and set the proxies of requests.

    Args:
        config: The file to read; `None` for `holdline.yaml` in this folder, if it exists.
        flags: Values by dotted key, such as `{"server.port": 9000}`; `None` values are ignored.
        variables: The environment; `None` for this process's own and `.env`.
        keys: Whether every named secret must be set. Commands that take calls need them; commands
            that read the configuration or ask a running server do not.

    Raises:
        ConfigError: With all problems of the configuration.
    """
    path = config or _default_file()
    layers = Layers()
    layers.merge(config_file.read_yaml(BUILT_IN).tree, lambda _: DEFAULT)
    variables = environment.read_environment() if variables is None else variables
    KNOWN.learn(named_secrets(variables))  # before any message about the configuration
    use_proxies(variables.values)
    problems, text = list[Problem](), ""
    if path:
        text = (file := config_file.read_yaml(path)).text
        layers.merge(file.tree, file.where)
        problems += config_secrets.problems_in(file)
    merge_environment(layers, variables)
    _merge_flags(layers, flags or {})
    settings, more = _complete_and_validate(layers, variables, keys=keys, file=path)
    if settings:
        KNOWN.learn(configured_secrets(settings), region=settings.server.region or "")
    settings, problems, left_out = _leave_out_keyless(settings, [*problems, *more])
    if settings is None or problems:
        raise ConfigError(_in_order(problems))
    warnings = (*left_out, *english_sentences(settings))
    return Loaded(settings=settings, layers=layers, file=path, text=text, warnings=warnings)


def _leave_out_keyless(
    settings: Settings | None, problems: list[Problem]
) -> tuple[Settings | None, list[Problem], tuple[str, ...]]:
    """Leave out rungs without a key if their stage keeps another rung and nothing else is wrong.

    Returns the remaining settings and problems, and a warning for each rung that is left out.
    """
    if settings is None or not all(problem.absent for problem in problems):
        return settings, problems, ()
    keyless = {problem.key[:3]: problem for problem in problems if problem.key[:1] == ("stages",)}
    ladders: dict[str, Any] = {}
    for stage in STAGES:
        ladder = getattr(settings.stages, stage)
        with_key = tuple(
            rung for index, rung in enumerate(ladder) if ("stages", stage, index) not in keyless
        )
        ladders[stage] = with_key or ladder
    left_out = [
        problem
        for (_, stage, _), problem in keyless.items()
        if len(ladders[str(stage)]) < len(getattr(settings.stages, str(stage)))
    ]
    stages = settings.stages.model_copy(update=ladders)
    remaining = [problem for problem in problems if problem not in left_out]
    warnings = tuple(f"{problem.line}; the rung is left out" for problem in _in_order(left_out))
    return settings.model_copy(update={"stages": stages}), remaining, warnings


def _default_file() -> Path | None:
    """Return the default file if there is one, even unreadable: its owner wants no other file.

    It may be a broken link, or a folder that Docker has created in place of a missing mount.
    """
    return USUAL if USUAL.exists() or USUAL.is_symlink() else None


def _find_own_modules(layers: Layers, file: Path) -> None:
    """Make modules next to the file importable if a tool or a service is in one of them.

    The folder comes last, so that nothing in it replaces a module of Holdline or Python. The
    working directory is not added: a person who can write to it must not decide what runs; one
    who can write the configuration already does. Workers, whose file is a copy, get the
    supervisor's path.
    """
    folder = str(file.absolute().parent)
    named = [layers.value_at((*agent, "tools")) for agent in config_checks.agents_in(layers)]
    named += [layers.value_at(("stages", stage)) for stage in STAGES]
    for entry in (entry for entries in named if isinstance(entries, list) for entry in entries):
        place = isinstance(entry, dict) and (entry.get("entry_point") or entry.get("service"))
        if isinstance(place, str) and folder not in sys.path and not _is_importable(place):
            sys.path.append(folder)


def _is_importable(place: str) -> bool:
    """Return whether the module of an entry point exists; also for a text that is no name."""
    try:
        return importlib.util.find_spec(re.split("[.:]", place)[0]) is not None
    except (ImportError, ValueError):  # no name of a module, which is reported later
        return True


def _merge_flags(layers: Layers, flags: Mapping[str, Any]) -> None:
    """Set the values of flags, by dotted key; `None` sets nothing."""
    for name, value in flags.items():
        if value is not None:
            layers.put(tuple(name.split(".")), value, where=f"flag --{name.split('.')[-1]}")


def _complete_and_validate(
    layers: Layers, variables: Environment, *, keys: bool, file: Path | None
) -> tuple[Settings | None, Iterable[Problem]]:
    """Return the settings, or `None` if they are invalid, and all problems; change `layers` first.

    Empty sections are removed, secrets are added, and `sys.path` may get the folder of the file.
    """
    _drop_empty_sections(layers.tree, ())
    if file:
        _find_own_modules(layers, file)
    problems = [*layers.problems, *config_secrets.fetch_secrets(layers, variables, required=keys)]
    problems += config_checks.check_layers(layers)
    try:
        return Settings.model_validate(layers.tree), problems
    except ValidationError as error:
        return None, [*problems, *config_schema.problems_of(error, layers)]


def _drop_empty_sections(tree: dict[str, Any], at: Key) -> None:
    """Treat an empty section such as `twilio:` as its defaults."""
    for name, value in list(tree.items()):
        if value is None and config_shape.model_at((*at, name)):
            del tree[name]
        elif isinstance(value, dict):
            _drop_empty_sections(value, (*at, name))


def _in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Return the first problem of each key: those with a line first, in the order of the file."""
    first: dict[Key, Problem] = {}
    for problem in problems:
        first.setdefault(problem.key or (problem.line,), problem)
    return sorted(first.values(), key=_sort_key)


def _sort_key(problem: Problem) -> tuple[int, str, int]:
    """Return what orders problems: those with a line by file and line, then all others."""
    name, _, line = problem.where.rpartition(":")
    return (0, name, int(line)) if line.isdigit() else (1, problem.where, 0)
