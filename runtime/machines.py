"""Several machines behind one address: the path `/m/NAME` leads to one of them.

The load balancer sends such a request to that machine, or to another one if that machine is gone.
Every machine accepts the paths of all. Routes see the rest of the path, and find the beginning in
the request's scope.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

MACHINE: Final = r"[a-z0-9][a-z0-9-]{0,30}"
ANY_MACHINE: Final = rf"(?:/m/{MACHINE})?"  # at the beginning of a path
_PATH: Final = re.compile(rf"(/m/{MACHINE})(/.*)", re.DOTALL)
SCOPE_KEY: Final = "holdline.machine_path"  # of the beginning, in the scope of a request


def is_machine(name: str) -> bool:
    """Return whether a text can be the name of a machine."""
    return re.fullmatch(MACHINE, name) is not None


def machine_path(name: str) -> str:
    """Return the beginning of the paths of one machine."""
    return f"/m/{name}"


def split_path(path: str) -> tuple[str, str]:
    """Return the beginning of a path that names a machine, which may be empty, and the rest."""
    matched = _PATH.fullmatch(path)
    return (matched[1], matched[2]) if matched else ("", path)


def machine_path_of(scope: Mapping[str, Any]) -> str:
    """Return the beginning of a request's path that names a machine; empty if it names none."""
    return str(scope.get(SCOPE_KEY, ""))


def addresses_under(addresses: Sequence[str], machine: str) -> tuple[str, ...]:
    """Return addresses; if a machine's path is given, also each of them with that path."""
    return (*addresses, *(f"{address}{machine}" for address in addresses if machine))
