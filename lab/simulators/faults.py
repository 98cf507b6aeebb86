"""The faults of a provider: a frozen class for each, and its form in YAML and JSON."""

import dataclasses
import difflib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    TypeAlias,
    TypeVar,
    dataclass_transform,
    get_args,
    get_type_hints,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The valid values of one field.

    Attributes:
        takes: The valid values in words, for messages and for the page.
        accepts: Returns whether a value is valid.
        choices: The valid values, if there are only a few.
    """

    takes: str
    accepts: Callable[[Any], bool]
    choices: tuple[str, ...] = ()


def _is_whole_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


SECONDS: Final = Form(
    takes="seconds, 0 or more", accepts=lambda value: _is_number(value) and value >= 0
)
MAYBE_SECONDS: Final = Form(
    takes="seconds, 0 or more, or null",
    accepts=lambda value: value is None or SECONDS.accepts(value),
)
WORDS: Final = Form(
    takes="a whole number, 0 or more", accepts=lambda value: _is_whole_number(value) and value >= 0
)
STATUS: Final = Form(
    takes="an HTTP status from 400 to 599",
    accepts=lambda value: _is_whole_number(value) and 400 <= value <= 599,
)
SHARE: Final = Form(
    takes="a number above 0 and at most 1",
    accepts=lambda value: _is_number(value) and 0 < value <= 1,
)
MAYBE_TEXT: Final = Form(
    takes="a text or null", accepts=lambda value: value is None or isinstance(value, str)
)
SWITCH: Final = Form(takes="true or false", accepts=lambda value: isinstance(value, bool))


def one_of(*choices: str) -> Form:
    """Return the form of a field with a few valid words."""
    return Form(takes=" or ".join(choices), accepts=lambda value: value in choices, choices=choices)


def suggestion(key: object, known: Mapping[str, Any]) -> str:
    """Return an unknown word in quotes with the nearest known ones, for the end of a message."""
    near = difflib.get_close_matches(str(key), list(known), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    return f"{key!r}{hint} ({', '.join(known) or 'none here'})"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    name: ClassVar[str] = ""
    label: ClassVar[str] = ""
    forms: ClassVar[Mapping[str, Form]] = {}


Named = TypeVar("Named", bound=_Named)


@dataclass_transform(kw_only_default=True, frozen_default=True)
def _register_fault(label: str) -> Callable[[type[Named]], type[Named]]:
    """Return a decorator that freezes a fault's class and registers its fields' valid values.

    The annotations of the fields hold the valid values. In YAML and JSON the fault's name is the
    class's name in lower case.

    Args:
        label: The fault's name on the page.
    """

    def make(plain: type[Named]) -> type[Named]:
        fault = dataclass(frozen=True, slots=True, kw_only=True)(plain)
        fault.name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", plain.__name__).lower()
        fault.label = label
        hints = get_type_hints(fault, include_extras=True)
        fault.forms = {
            field.name: hints[field.name].__metadata__[0] for field in dataclasses.fields(fault)
        }
        return fault

    return make


@_register_fault("Connection refused")
class Refuse(_Named):
    """The port refuses connections; existing ones are reset."""


@_register_fault("Connection reset")
class Reset(_Named):
    """The connection is accepted and then reset."""


@_register_fault("HTTP error")
class Http(_Named):
    """Requests and upgrades are answered with this status and the provider's own body for it.

    Attributes:
        status: The HTTP status.
        code: The provider's own code, if the status has several.
        retry_after_s: Sent as `retry-after` if given.
    """

    status: Annotated[int, STATUS]
    code: Annotated[str | None, MAYBE_TEXT] = None
    retry_after_s: Annotated[float | None, MAYBE_SECONDS] = None


@_register_fault("Not TLS, not HTTP")
class NotTls(_Named):
    """The port answers with bytes that are neither TLS nor HTTP."""


@_register_fault("Accepts, then says nothing")
class Silent(_Named):
    """The request is accepted, and nothing follows.

    Attributes:
        where: `handshake`: the request is not even answered; `stream`: the stream opens, but stays
            without output.
    """

    where: Annotated[str, one_of("handshake", "stream")] = "stream"


@_register_fault("Slow start")
class SlowStart(_Named):
    """The first output is `delay_s` late."""

    delay_s: Annotated[float, SECONDS] = 3.0


@_register_fault("Slow rate")
class SlowRate(_Named):
    """Output flows at `factor` of its normal rate."""

    factor: Annotated[float, SHARE] = 0.1


@_register_fault("Cut in the middle")
class Cut(_Named):
    """Output ends after this many words.

    Attributes:
        after_words: Complete words before it.
        how: `reset` (TCP RST), `close` (a clean end as if finished), `error` (the provider's error
            message on the open stream).
        inside_word: End inside the next word instead of before it.
    """

    after_words: Annotated[int, WORDS] = 4
    how: Annotated[str, one_of("reset", "close", "error")] = "reset"
    inside_word: Annotated[bool, SWITCH] = False


@_register_fault("Stalls in the middle")
class Stall(_Named):
    """Output stops after this many words; the connection stays open."""

    after_words: Annotated[int, WORDS] = 4


@_register_fault("Alive without content")
class Alive(_Named):
    """Output that only keeps the stream alive (keep-alives, role-only chunks, silent audio)."""


@_register_fault("Garbage")
class Garbage(_Named):
    """Frames and bodies that cannot be parsed."""


@_register_fault("Everything twice")
class Duplicate(_Named):
    """Every output frame is sent twice."""


@_register_fault("Goes on after a cancel")
class LateAfterCancel(_Named):
    """Output continues for `delay_s` after a cancel."""

    delay_s: Annotated[float, SECONDS] = 0.5


@_register_fault("Quota exhausted")
class Quota(_Named):
    """The provider's error for an account without credit.

    Attributes:
        where: `request`: at the request or upgrade; `event`: on the open stream.
        code: The provider's own code, if it has several.
    """

    where: Annotated[str, one_of("request", "event")] = "request"
    code: Annotated[str | None, MAYBE_TEXT] = None


@_register_fault("Error on the open stream")
class ErrorEvent(_Named):
    """The stream opens, then carries the provider's error instead of output.

    Attributes:
        status: The HTTP status that the provider would name.
        code: The provider's own code, if the status has several.
    """

    status: Annotated[int, STATUS] = 500
    code: Annotated[str | None, MAYBE_TEXT] = None


@_register_fault("Breaks its own protocol")
class Mistaken(_Named):
    """A voice violates its own protocol in one detail.

    Attributes:
        what: `odd_pcm` (16-bit samples torn between two messages), `wrong_context` (audio under an
            unknown id), `error_without_context`, `no_final` (no `done`, no `isFinal`),
            `no_audio` (a clean end without any), `snake_case` (other spellings of keys),
            `null_alignment` (no word or character times).
    """

    what: Annotated[
        str,
        one_of(
            "odd_pcm",
            "wrong_context",
            "error_without_context",
            "no_final",
            "no_audio",
            "snake_case",
            "null_alignment",
        ),
    ] = "odd_pcm"


@_register_fault("Leaves words out")
class LeaveOut(_Named):
    """A voice leaves out some words of its text; the times of the others are correct.

    Attributes:
        after_words: Words before the gap, in each piece of text.
        words: How many words are left out.
    """

    after_words: Annotated[int, WORDS] = 4
    words: Annotated[int, WORDS] = 2


@_register_fault("Adds text that is no speech")
class Adds(_Named):
    """A model ends each answer with text that is no speech, such as a tag.

    Attributes:
        text: The added text.
    """

    text: Annotated[str, MAYBE_TEXT] = ' <break time="1s"/>'


@_register_fault("Answers without end")
class Endless(_Named):
    """A model continues after its answer, sentence by sentence.

    Attributes:
        words: How many more words it writes; the last sentence is completed.
        same: Whether to repeat one sentence.
    """

    words: Annotated[int, WORDS] = 2500
    same: Annotated[bool, SWITCH] = False


Fault: TypeAlias = (
    Refuse
    | Reset
    | Http
    | NotTls
    | Silent
    | SlowStart
    | SlowRate
    | Cut
    | Stall
    | Alive
    | Garbage
    | Duplicate
    | LateAfterCancel
    | Quota
    | ErrorEvent
    | Mistaken
    | LeaveOut
    | Adds
    | Endless
)

FAULTS: Final[Mapping[str, type[Fault]]] = {fault.name: fault for fault in get_args(Fault)}


def parse(mapping: Mapping[str, Any]) -> Fault:
    """Parse a fault from a YAML or JSON mapping.

    Args:
        mapping: `{"fault": NAME, FIELD: VALUE, ...}` and nothing else.

    Raises:
        ValueError: A wrong name, field or value; one line with the valid ones.
    """
    fault = _fault_named(mapping.get("fault"))
    fields = {key: value for key, value in mapping.items() if key != "fault"}
    for key, value in fields.items():
        if key not in fault.forms:
            raise ValueError(f"fault {fault.name}: unknown key {suggestion(key, fault.forms)}")
        if not fault.forms[key].accepts(value):
            raise ValueError(
                f"fault {fault.name}: {key} is {value!r}; it takes {fault.forms[key].takes}"
            )
    missing = [
        field.name
        for field in dataclasses.fields(fault)
        if field.default is dataclasses.MISSING and field.name not in fields
    ]
    if missing:
        valid = _valid_values_of_first(fault, missing)
        raise ValueError(f"fault {fault.name}: {missing[0]} is missing; {valid}")
    return fault(**fields)


def as_mapping(fault: Fault) -> dict[str, Any]:
    """Return the mapping that `parse` accepts for this fault."""
    return {"fault": fault.name, **dataclasses.asdict(fault)}


def menu() -> list[dict[str, Any]]:
    """Return every fault with its fields, for a page that offers them."""
    return [
        {
            "fault": name,
            "label": fault.label,
            "fields": [_form_field(fault, key) for key in fault.forms],
        }
        for name, fault in FAULTS.items()
    ]


def _fault_named(name: object) -> type[Fault]:
    """Return the class of a fault; raise `ValueError`, with the known names, if there is none."""
    if name is None:
        raise ValueError(f"fault is missing; it takes one of {', '.join(FAULTS)}")
    if name not in FAULTS:
        raise ValueError(f"unknown fault {suggestion(name, FAULTS)}")
    return FAULTS[str(name)]


def _valid_values_of_first(fault: type[Fault], missing: list[str]) -> str:
    return f"it takes {fault.forms[missing[0]].takes}"


def _form_field(fault: type[Fault], key: str) -> dict[str, Any]:
    """Return a fault's field as the lab's page shows it: name, default, and valid values."""
    form = fault.forms[key]
    default = next(field.default for field in dataclasses.fields(fault) if field.name == key)
    return {
        "name": key,
        # Only the status of an HTTP error has no default.
        "default": 503 if default is dataclasses.MISSING else default,
        "takes": form.takes,
        "choices": list(form.choices),
    }
