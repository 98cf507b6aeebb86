"""Ladders of providers for any Pipecat bot: `from holdline import Ladders, rung`.

Pipecat is imported with the first of these names, not with the package.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from runtime.waits import keep_cancellations_plain

if TYPE_CHECKING:
    from holdline.ladders import Ladders
    from holdline.rungs import rung

keep_cancellations_plain()

__all__ = ["Ladders", "rung"]

_MODULES: Final = {"Ladders": "ladders", "rung": "rungs"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
