"""A rung of a ladder, as a developer writes it: a service of Pipecat's and its arguments.

Holdline has services of its own for some vendors (`OWN`). All others are built by the adapter from
Pipecat's class. A rung takes the arguments of Pipecat's constructor, or a rung's own keys.
"""

import difflib
import inspect
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

from calls.sentences import Vendor
from providers.adapter.building import OWN as NEEDED
from providers.adapter.service_class import (
    PLACES,
    ServiceClass,
    UnusableServiceError,
    describe,
    load_class,
)
from providers.adapter.value_types import fields_of, wrong_values
from providers.catalog import ADAPTED, kinds, provider
from providers.provider import Provider, RungSpec, Stage

OWN: Final[Mapping[str, str]] = {
    "pipecat.services.deepgram.stt:DeepgramSTTService": "deepgram",
    "pipecat.services.openai.llm:OpenAILLMService": "openai",
    "pipecat.services.cartesia.tts:CartesiaTTSService": "cartesia",
    "pipecat.services.elevenlabs.tts:ElevenLabsTTSService": "elevenlabs",
}
"""The kinds of rungs that take the place of these services of Pipecat's."""
FIXED: Final[Mapping[str, Mapping[str, Any]]] = {
    "deepgram": {"interim_results": True, "smart_format": False}
}
"""The settings that Holdline's own services need as they are."""
DETECTING: Final = ("elevenlabs",)
"""Holdline's own kinds that detect the language if none is stated."""
KEYS: Final = ("api_key", "url", "timeout_s", "model", "voice", "language", "instructions")
"""A rung's own keys."""
TIMEOUT_S: Final = 10.0  # for one request, by default
NUMBERS: Final[Mapping[str, tuple[Any, str]]] = {
    "timeout_s": (int | float, "a number above 0"),
    "rate_hz": (int, "a whole number above 0"),
}
"""The keys that are no text: their types, and what they must be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderRung:
    """One place in a ladder, in which nothing is checked yet."""

    service: str  # `module:Class`; empty for a kind of Holdline's
    kind: str
    name: str
    given: Mapping[str, Any] = field(repr=False)

    @property
    def title(self) -> str:
        """How it was written, for messages."""
        return f"rung({self.service.partition(':')[2] or repr(self.kind)})"


def rung(service: type | str, *, name: str = "", **arguments: Any) -> LadderRung:
    """Return one place in a ladder.

    Args:
        service: A class of Pipecat's services, or a kind of Holdline's such as `"deepgram"`.
        name: Its name in events; by default, that of its kind.
        arguments: Those of the class's constructor, or `api_key`, `url`, `model`, `voice`,
            `language`, `instructions` and `timeout_s`.

    Raises:
        TypeError: The service is no class, or not one that can be found by its name.
    """
    if isinstance(service, str):
        return LadderRung(service="", kind=service, name=name, given=arguments)
    if not inspect.isclass(service):
        raise TypeError(f"rung: it got {service!r}, which is no class; write rung(ItsClass, ...)")
    if getattr(sys.modules.get(service.__module__), service.__qualname__, None) is not service:
        place = f"give it this name at the top level of {service.__module__}"
        raise TypeError(f"rung({service.__qualname__}): it is not found by its name; {place}")
    path = f"{service.__module__}:{service.__qualname__}"
    return LadderRung(service=path, kind=OWN.get(path, ADAPTED), name=name, given=arguments)


def specs_of(stage: Stage, rungs: Sequence[LadderRung]) -> tuple[RungSpec, ...]:
    """Return a stage's rungs with distinct names; their sample rate is not known yet.

    A rung without a language gets the first one that its ladder states. If none is stated, it has
    the usual one of its service, which may detect it: then it is empty.

    Raises:
        TypeError: An item is no rung.
        ValueError: A rung cannot be used as it is written; one line, which names the cure.
    """
    if not isinstance(rungs, list | tuple):
        raise TypeError(f"Ladders: {stage} is {rungs!r}; write {stage}=[rung(ItsClass, ...)]")
    if not rungs:
        raise ValueError(f"Ladders: {stage} is empty; give it one rung at least")
    specs: list[RungSpec] = []
    for item in rungs:
        if not isinstance(item, LadderRung):
            raise TypeError(f"Ladders: {stage} has {item!r}; write rung(ItsClass, ...)")
        specs.append(_Reading(item, stage).spec({spec.name for spec in specs}))
    stated = next((spec.language for spec in specs if spec.language), "")
    return tuple(
        replace(spec, language=spec.language or stated or _usual_language(spec)) for spec in specs
    )


def _usual_language(spec: RungSpec) -> str:
    """Return the language of a service to which none is told; empty if it is the service's own."""
    return "" if spec.service or spec.kind in DETECTING else "en"


class _Reading:
    """Reads the arguments of one rung."""

    def __init__(self, rung: LadderRung, stage: Stage) -> None:
        self._rung = rung
        self._stage: Stage = stage
        self._keys: dict[str, Any] = {}  # the rung's own
        self._init: dict[str, Any] = {}  # the constructor's
        self._options: dict[str, Any] = {}
        known = [kind for kind in kinds(stage) if kind != ADAPTED]
        if not rung.service and rung.kind not in known:
            raise self._error_for_rung(f"{stage} has no such kind; it has {', '.join(known)}")
        self._service = self._describe_service()
        self._provider: Provider = provider(stage, rung.kind, rung.service)
        self._settings = self._service.settings if self._service else _local_options(self._provider)
        self._is_own = not self._provider.service

    def spec(self, taken: Iterable[str]) -> RungSpec:
        """Return the rung's specification, with a name that is not taken; to be called once.

        Its sample rate is not known yet, and its language is empty unless it is stated.

        Raises:
            ValueError: The rung cannot be used as it is written.
        """
        for name, value in self._rung.given.items():
            self._read_argument(name, value)
        for name, value in {"name": self._rung.name, **self._keys}.items():
            if wrong := _why_wrong(name, value):
                raise self._error_for_rung(wrong)
        self._check_arguments()
        vendor, kind = self._provider, self._rung.kind
        name = self._unused_name(set(taken))
        return RungSpec(
            name=name,
            stage=self._stage,
            kind=kind,
            url=self._url_with_scheme(),
            sample_rate_hz=0,
            language=str(self._keys.get("language") or ""),
            model=self._keys.get("model"),
            voice=self._keys.get("voice"),
            api_key=str(self._keys.get("api_key") or ""),
            vendor=Vendor(title=vendor.title, key="api_key", place=f"the rung {name}"),
            timeout_s=self._keys.get("timeout_s") or TIMEOUT_S,
            instructions=self._keys.get("instructions") or "",
            options=self._options,
            facts=vendor.facts,
            service=vendor.service,
            init=self._init,
            rate_hz=self._keys.get("rate_hz") or 0,
        )

    def _describe_service(self) -> ServiceClass | None:
        """Return what the service's class takes; `None` if Holdline's kind has no class."""
        paths = {kind: path for path, kind in OWN.items()}
        kind = self._rung.kind
        path = self._rung.service or provider(self._stage, kind).service or paths.get(kind, "")
        try:
            return describe(load_class(path, self._stage)) if path else None
        except UnusableServiceError as error:
            raise self._error_for_rung(str(error).replace("stages.", "")) from error

    def _read_argument(self, name: str, value: Any) -> None:
        """Give an argument to the key, constructor or settings; raise a `ValueError` otherwise.

        The constructor's own arguments come before a rung's key of the same name. The older form
        of the settings is read as settings, or else as further arguments.
        """
        service = self._service
        parameters = service.parameters if service else {}
        older = service.older if service else []
        if name == "settings" or (service and name in (service.settings_in, *older)):
            for setting, given in self._settings_in(value).items():
                is_argument = name in older and setting not in self._settings
                (self._read_argument if is_argument else self._read_setting)(setting, given)
        elif place := self._place_of_parameter(name):
            self._keys["api_key" if place == "key" else place] = value
        elif name in KEYS and name not in parameters and _has_effect(service, self._stage, name):
            self._keys[name] = value
        elif _is_setting(service, name, is_class=bool(self._rung.service)):
            self._read_setting(name, value)
        elif name in parameters:
            self._init[name] = value
        elif name in KEYS:
            raise self._error_for_rung(f"it takes no {name}; leave it out")
        else:
            cure = _suggest_nearest(name, [*parameters, *KEYS])
            raise self._error_for_rung(f"the class has no argument {name}{cure}")

    def _place_of_parameter(self, name: str) -> str:
        """Return the value of a rung that a parameter of the class takes; empty if it takes none.

        Raises:
            ValueError: Holdline sets the value itself.
        """
        is_parameter = self._service is not None and name in self._service.parameters
        place = _place_of(name, "parameters") if is_parameter else ""
        if place == "rate_hz" and self._is_own:
            raise self._error_for_rung(f"{name} is that of the pipeline; leave it out")
        if place == "session":
            raise self._error_for_rung(f"Holdline gives it the {name}; leave it out")
        return place

    def _read_setting(self, name: str, value: Any) -> None:
        """Give a setting to the rung's key, or to its options.

        Raises:
            ValueError: There is no such setting, or Holdline needs another value.
        """
        fixed = FIXED.get(self._rung.kind, {})
        if name in fixed and value != fixed[name]:
            raise self._error_for_rung(f"settings.{name} must be {fixed[name]}; leave it out")
        if self._settings and name not in self._settings:
            cure = _suggest_nearest(name, self._settings)
            cure = cure or ("" if self._service else f"; it has {', '.join(self._settings)}")
            raise self._error_for_rung(f"there is no settings.{name}{cure}")
        if key := _place_of(name, "settings"):
            self._keys[key] = value
        elif name not in fixed:
            self._options[name] = value

    def _settings_in(self, value: Any) -> dict[str, Any]:
        """Return the settings that were given, whichever way Pipecat's class keeps them."""
        if value is None:
            return {}
        if isinstance(value, Mapping):
            return {str(name): given for name, given in cast("Mapping[Any, Any]", value).items()}
        if inspect.isclass(value) or not hasattr(value, "__dict__"):
            raise self._error_for_rung(
                f"settings is {value!r}; it must be a mapping, or its Settings(...)"
            )
        if hasattr(value, "given_fields"):
            return value.given_fields()
        stated = getattr(value, "model_fields_set", vars(value))  # without Pydantic's defaults
        return {
            name: given
            for name, given in vars(value).items()
            if given is not None and name in stated
        }

    def _check_arguments(self) -> None:
        """Raise an error for an argument that is missing, or that has no counterpart."""
        vendor, own = self._provider, self._is_own
        if own and self._init:
            name = next(iter(self._init))
            raise self._error_for_rung(
                f"{name} has no counterpart in Holdline's own {self._rung.kind} rung; leave it out"
            )
        is_elsewhere = bool(self._keys.get("url")) and vendor.key_env == "OPENAI_API_KEY"
        if own and vendor.key_env and not is_elsewhere and not self._keys.get("api_key"):
            raise self._error_for_rung("api_key is missing")
        rate_hz, rates_hz = self._keys.get("rate_hz"), vendor.facts.rates_hz
        if rate_hz and rates_hz and rate_hz not in rates_hz:
            known = " or ".join(map(str, rates_hz))
            raise self._error_for_rung(f"the rate is {rate_hz}; it supports {known}")
        if self._service and not own:
            self._check_needs(self._service)
        for path, value, noun in _wrong_types(
            self._service, self._init, self._settings, self._options
        ):
            raise self._error_for_rung(f"{'.'.join(path)} is {value!r}; it must be {noun}")

    def _check_needs(self, service: ServiceClass) -> None:
        """Raise an error for an argument that the constructor needs."""
        keys = {name: value for value, name in service.places.items()}
        ours = {"rate_hz", "session"} | ({"url"} if self._provider.url else set[str]())
        for name in filter(service.needs, service.parameters):
            key = keys.get(name, "")
            is_given = self._keys.get("api_key" if key == "key" else key) or key in ours
            if name not in self._init and not is_given:
                raise self._error_for_rung(f"{name} is missing")

    def _url_with_scheme(self) -> str:
        """Return the address with a scheme that the service speaks, such as wss instead of https.

        Raises:
            ValueError: None of its schemes corresponds to the given one.
        """
        url, schemes = (
            str(self._keys.get("url") or self._provider.url),
            self._provider.facts.schemes,
        )
        scheme, _, rest = url.rpartition("://")
        if not url or not schemes or scheme in schemes:
            return url
        twin = {"https": "wss", "http": "ws", "wss": "https", "ws": "http", "": schemes[0]}
        if twin.get(scheme) not in schemes:
            raise self._error_for_rung(f"url is {url!r}; it begins with {' or '.join(schemes)}://")
        return f"{twin[scheme]}://{rest}"

    def _unused_name(self, taken: set[str]) -> str:
        """Return the given name, or else the vendor's with a number if it is taken.

        Raises:
            ValueError: Another rung has the given name.
        """
        if self._rung.name in taken:
            raise self._error_for_rung(f"name is {self._rung.name!r}, which another rung has")
        if self._rung.name:
            return self._rung.name
        kind, title = self._rung.kind, self._provider.title
        name = "-".join(title.lower().split()) if kind == ADAPTED else kind
        numbered = (f"{name}-{number}" for number in range(2, len(taken) + 3))
        return next(item for item in (name, *numbered) if item not in taken)

    def _error_for_rung(self, text: str) -> ValueError:
        return ValueError(f"{self._rung.title}: {text}")


def _local_options(vendor: Provider) -> dict[str, Any]:
    """Return the types of the options of a kind without a class, by name; imports its module."""
    options = getattr(vendor.load(), "OPTIONS", ())
    known = dict(fields_of(options)) if options else {}
    return {name: hint for name, hint in known.items() if name != "rate_hz"}  # the call's


def _wrong_types(
    service: ServiceClass | None,
    init: Mapping[str, Any],
    settings: Mapping[str, Any],
    options: Mapping[str, Any],
) -> Iterator[tuple[tuple[str, ...], Any, str]]:
    """Yield the arguments and settings of a wrong type, as `wrong_values` does.

    Also yields arguments that Holdline needs to be another value.
    """
    yield from wrong_values(service.hints if service else {}, init)
    for name, value in init.items():
        if value != NEEDED.get(name, value):
            yield (name,), value, f"{NEEDED[name]}; leave it out"
    for path, value, noun in wrong_values(settings, options):
        yield ("settings", *path), value, noun


def _has_effect(service: ServiceClass | None, stage: Stage, key: str) -> bool:
    """Return whether a rung's key has an effect: Holdline reads it, or the class takes it."""
    if key in ("timeout_s", "url") or (key == "language" and stage != "llm"):
        return True
    if service is None:
        return key in ("model", "voice")
    return bool(service.places["key" if key == "api_key" else key])


def _is_setting(service: ServiceClass | None, name: str, *, is_class: bool) -> bool:
    """Return whether an argument that stands by itself is one of the settings."""
    if service is None:
        return name not in KEYS
    return name in service.settings and (name in KEYS or not is_class)


def _why_wrong(name: str, value: Any) -> str:
    """Return why a rung's key cannot have a value of this type; empty if it can."""
    types, noun = NUMBERS.get(name, (str, "text"))
    fits = isinstance(value, types) and not isinstance(value, bool)
    if value is None or (fits and (name not in NUMBERS or 0 < value < math.inf)):
        return ""
    shown = f"of type {type(value).__name__}" if name == "api_key" else repr(value)
    return f"{name} is {shown}; it must be {noun}"


def _place_of(name: str, kind: str) -> str:
    """Return the value of a rung that a setting or parameter takes; empty if it takes none."""
    return next((value for value, names in PLACES.items() if name in names.get(kind, ())), "")


def _suggest_nearest(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {found[0]}?" if found else ""
