"""Which keys of two configurations differ; never what they hold."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from bot.config.errors import Key, dotted
from bot.config.settings import Settings

MOST: Final = 50  # names of keys; a new ladder has some twenty


def changed_keys(old: Settings, new: Settings) -> tuple[str, ...]:
    """Return the keys that hold something else, such as `agent.greeting`, in the file's order."""
    found = _differing(old.model_dump(), new.model_dump(), ())
    return tuple(dict.fromkeys(dotted(key) for key in found))[:MOST]


def _differing(old: Any, new: Any, at: Key) -> Iterator[Key]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in {**old, **new}:
            yield from _differing(old.get(name), new.get(name), (*at, name))
    elif _is_list(old) and _is_list(new) and len(old) == len(new):
        for index, (was, is_) in enumerate(zip(old, new, strict=True)):
            yield from _differing(was, is_, (*at, index))
    elif old != new:
        yield at


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)
