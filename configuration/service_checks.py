"""Checks of a `pipecat` rung: that its service exists, and takes what the rung states.

Pipecat and the vendor's package are imported only if a rung has this kind.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from configuration.errors import Key, Problem, nearest, shown, without_secrets
from configuration.layers import Layers
from providers.catalog import ADAPTED, known_services, provider
from providers.provider import Provider, RungSpec, Stage

if TYPE_CHECKING:  # it needs Pipecat, which takes seconds
    from providers.adapter.service_class import ServiceClass

OWN_KEYS: Final = ("service", "init", "settings", "rate_hz", "facts")  # of a `pipecat` rung
EXAMPLE: Final = '"pipecat.services.minimax.tts:MiniMaxHttpTTSService"'
MAX_SHOWN: Final = 12  # names in a message (chosen)
CURES: Final = {  # how to state a value that is not for `init` or `settings`
    "key": "name its variable in api_key_env",
    "instructions": "use agent.prompt",
    "session": "Holdline gives it one",
    "fixed": "Holdline sets it",
}

STATED: Final = ("key", "url", "model", "voice")  # values that only the rung states

FACTS: Final[Mapping[Stage, tuple[str, ...]]] = {  # that a rung may state
    "stt": ("finalises", "interim"),
    "llm": ("says_why",),
    "tts": ("word_times", "cancels"),
}

Found: TypeAlias = Iterator[tuple[tuple[str, ...], str]]
"""Keys within the rung, and what is wrong with their values."""


def check_service(
    layers: Layers, key: Key, stage: Stage, rung: Mapping[str, Any]
) -> Iterator[Problem]:
    """Yield what is wrong with a rung's service, and with the values that it is built from."""
    for path, text in _rung_problems(stage, rung):
        yield layers.problem((*key, *path), text)


def _rung_problems(stage: Stage, rung: Mapping[str, Any]) -> Found:
    """Yield what is wrong with a rung; after an unusable service, nothing more is checked."""
    service = rung.get("service")
    if rung.get("kind") != ADAPTED:
        for name in (name for name in OWN_KEYS if rung.get(name)):
            yield (name,), f"is only for a rung of kind: {ADAPTED}"
        return
    yield from _facts_of_others(stage, rung.get("facts"))
    if not isinstance(service, str) or not all(service.partition(":")):
        held = "is missing" if service is None else f"is {shown(service)}"
        yield ("service",), f"{held}; it must be the module:Class of a service, such as {EXAMPLE}"
        return
    from providers.adapter import service_class  # noqa: PLC0415 - Pipecat takes seconds

    try:
        found = service_class.describe(service_class.load_class(service, stage))
    except service_class.UnusableServiceError as error:
        close, some = nearest(error.word, error.known), ", ".join(error.known[:MAX_SHOWN])
        cure = f"; did you mean {close}?" if close else f"; it has {some}" if some else ""
        yield ("service",), f'is "{service}": {error}{cure}'
        return
    vendor = provider(stage, ADAPTED, service)
    wrong = [*_wrong_names(found, rung), *_values_not_taken(found, vendor, rung)]
    if not wrong:  # a misspelt name is not a missing one
        wrong = [*_wrong_types(found, rung), *_missing_arguments(found, vendor, rung)]
    yield from wrong
    yield from _wrong_rate(found, vendor, rung)


def _facts_of_others(stage: Stage, facts: object) -> Found:
    """Yield the facts that only services of other stages have; unknown ones are found elsewhere."""
    known = {name for names in FACTS.values() for name in names}
    for name in facts if isinstance(facts, dict) else ():
        if name in known - {*FACTS[stage]}:
            yield ("facts", str(name)), f"is no fact of {stage}; it has {', '.join(FACTS[stage])}"


def _wrong_names(service: "ServiceClass", rung: Mapping[str, Any]) -> Found:
    """Yield the unknown keys in `init` and `settings`, and those that are not stated there."""
    from providers.adapter.building import FIXED  # noqa: PLC0415 - Pipecat

    own = {name: value for value, name in service.places.items() if name}
    own |= dict.fromkeys((service.settings_in, *service.older), "settings")
    own |= dict.fromkeys(FIXED, "fixed")
    for part, taken in (("init", service.parameters), ("settings", service.settings)):
        known, given = [name for name in taken if name not in own], rung.get(part)
        for name in given if isinstance(given, dict) else ():
            close = nearest(str(name), known)
            if name in own and name in taken:
                yield (
                    (part, name),
                    f"is not stated here; {CURES.get(own[name], f'use {own[name]}')}",
                )
            elif name not in known:
                cure = (
                    f"did you mean {close}?" if close else f"it takes {', '.join(known) or 'none'}"
                )
                yield (part, name), f"is unknown to {service.name}; {cure}"


def _wrong_types(service: "ServiceClass", rung: Mapping[str, Any]) -> Found:
    """Yield the values in `init` and `settings` that are not of the type that the service takes."""
    from providers.adapter.value_types import wrong_values  # noqa: PLC0415 - Pipecat

    for part, hints in (("init", service.hints), ("settings", service.settings)):
        given = rung.get(part)
        for path, value, noun in wrong_values(hints, given if isinstance(given, dict) else {}):
            yield (part, *path), f"is {shown(value, path)}; it must be {noun}"


def _values_not_taken(service: "ServiceClass", vendor: Provider, rung: Mapping[str, Any]) -> Found:
    """Yield the values that the rung states and the service takes nowhere."""
    elsewhere = {"url": vendor.url, "rate_hz": vendor.facts.rates_hz}
    for name in ("url", "model", "voice", "rate_hz"):
        if rung.get(name) and not service.places[name] and not elsewhere.get(name):
            yield (name,), f"is {shown(rung[name])}, and {service.name} takes none; leave it out"
    if rung.get("options"):
        yield ("options",), f"is not for a rung of kind: {ADAPTED}; call it settings"


def _missing_arguments(service: "ServiceClass", vendor: Provider, rung: Mapping[str, Any]) -> Found:
    """Yield the arguments that the service needs and the rung does not state."""
    elsewhere = {"key": rung.get("api_key_env") or vendor.key_env, "url": vendor.url}
    by_place = {name: value for value, name in service.places.items()}
    init = rung.get("init")
    for name in filter(service.needs, service.parameters):
        value = by_place.get(name)
        if value is None and not (isinstance(init, dict) and name in init):
            yield ("init", name), f"is missing; {service.name} needs it"
        elif value in STATED and not rung.get(value) and not elsewhere.get(value):
            key = "api_key_env" if value == "key" else value
            yield (key,), f"is missing; {service.name} needs it as {name}"


def _wrong_rate(service: "ServiceClass", vendor: Provider, rung: Mapping[str, Any]) -> Found:
    """Yield a rate that the service does not support, by the table or by its constructor."""
    rate, rates = rung.get("rate_hz"), vendor.facts.rates_hz
    if not isinstance(rate, int) or rate < 1 or rate in rates:
        return
    if rates:
        yield ("rate_hz",), f"is {rate}; {service.name} supports {' or '.join(map(str, rates))}"
    elif vendor.service not in known_services(vendor.stage):
        from providers.adapter.building import why_rate_is_rejected  # noqa: PLC0415 - Pipecat

        trial = RungSpec(
            name=service.name,
            stage=vendor.stage,
            kind=ADAPTED,
            url=str(rung.get("url") or ""),
            sample_rate_hz=rate,
            model=rung.get("model"),
            voice=rung.get("voice"),
            api_key="key",
            service=vendor.service,
            init=rung.get("init") or {},
            options=rung.get("settings") or {},
        )
        if text := why_rate_is_rejected(trial):
            yield ("rate_hz",), f"is {rate}, which {service.name} rejects: {without_secrets(text)}"
