"""What the receptionist says: one utterance of the caller and the notes so far give an answer.

Pure and without chance: the same conversation gets the same words from every instance, so that a
listener, or a test, can tell a failover only by what must not be heard. First sentences are short,
because speech begins when the first sentence is complete; some answers are long, because a cut in
the middle needs a middle.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from faultlab.understood import Understood

GREETING: Final = "Hello. How can I help you?"
ELSE: Final = "Is there anything else I can do for you?"
UNKNOWN: Final = "I am sorry, I did not quite understand. Could you say that in other words?"
GOODBYE: Final = "Goodbye, and thank you for calling."

_PRICES: Final = {
    "haircut": "forty euros",
    "consultation": "sixty euros",
    "massage": "seventy euros",
    "cleaning": "eighty five euros",
    "check up": "thirty euros",
}
_ASK: Final = {
    "service": (
        "What shall I book for you: a haircut, a consultation, a massage, a check up or a cleaning?"
    ),
    "day": "Which day would suit you?",
    "time": "At what time would you like to come?",
    "name": "What name may I put it under?",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """What the receptionist remembers.

    Attributes:
        topic: `book`, `callback` or "".
        asked: What the last answer asked for: a slot, `confirm`, `number`, `else` or "".
        last: The last answer's text.
    """

    topic: str = ""
    asked: str = ""
    last: str = ""
    service: str = ""
    day: str = ""
    time: str = ""
    name: str = ""
    number: str = ""

    @property
    def appointment(self) -> str:
        """The appointment in words, as far as it is known."""
        what = f"a {self.service}" if self.service else "an appointment"
        when = f" for {self.day}" if self.day else ""
        at = f" {clock(self.time)}" if self.time else ""
        return f"{what}{when}{at}" + (f", in the name of {self.name}" if self.name else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is said and done.

    Attributes:
        text: The words; "" when a tool is called first and answered later.
        tool: The tool to call, by name, if it is offered.
        without_tool: Said when it is not.
    """

    text: str = ""
    tool: str = ""
    without_tool: str = ""


Turn: TypeAlias = tuple[Notes, Answer]


def step(notes: Notes, heard: Understood) -> Turn:
    """Return the answer to one utterance, and the notes after it."""
    notes, answer = _TURNS[heard.want](notes, heard)
    if heard.want != "repeat":
        notes = replace(notes, last=answer.text or answer.without_tool)
    return notes, answer


def clock(time: str) -> str:
    """Return a time of day as it stands in a sentence."""
    return time if time.startswith("in the") else f"at {time}"


def price(service: str) -> str:
    """Return the answer to a question about money."""
    if service in _PRICES:
        return (
            f"A {service} costs {_PRICES[service]}. It takes about half an hour, and you can pay"
            " by card or in cash on the day."
        )
    return (
        "That depends. A haircut costs forty euros, a consultation costs sixty, a massage costs"
        " seventy, a cleaning costs eighty five, and a check up costs only thirty euros."
    )


def hours(day: str) -> str:
    """Return the answer to a question about opening hours."""
    if day.endswith("Sunday"):
        return "No, on Sunday we are closed. We open again on Monday at nine in the morning."
    if day.endswith("Saturday"):
        return "Yes, we are open on Saturday. We are here from ten in the morning until two."
    return (
        "We open at nine. From Monday to Friday we are here until six in the evening, on Saturday"
        " from ten in the morning until two, and on Sunday we are closed."
    )


_SAYS: Final = {
    "address": (
        "We are at twelve Market Street. You will find us in the middle of town, two minutes on"
        " foot from the station, on the ground floor beside the post office."
    ),
    "wait": "Of course. I am still here, so take all the time you need.",
    "presence": "Yes, I can hear you. How can I help you?",
    "help": (
        "Of course. I can book an appointment for you, tell you our prices and our opening hours,"
        " or put you through to a person."
    ),
}


def _repeat(notes: Notes, heard: Understood) -> Turn:
    del heard
    return notes, Answer(text=f"I said: {notes.last or GREETING}")


def _goodbye(notes: Notes, heard: Understood) -> Turn:
    text = f"Very well. {GOODBYE}" if heard.want == "done" or heard.no else GOODBYE
    return replace(notes, topic="", asked=""), Answer(text=text, tool="end_call")


def _person(notes: Notes, heard: Understood) -> Turn:
    del heard
    refused = (
        "I am sorry, I cannot put you through to a person from here. Shall somebody call you back?"
    )
    asked = replace(notes, topic="", asked="callback")
    return asked, Answer(tool="transfer_to_person", without_tool=refused)


def _callback(notes: Notes, heard: Understood) -> Turn:
    notes = _else(replace(notes, number=heard.number or notes.number))
    noted = f"That is noted. Somebody will call you back. {ELSE}"
    return notes, Answer(tool="request_callback", without_tool=noted)


def _price(notes: Notes, heard: Understood) -> Turn:
    return _aside(notes), Answer(text=price(heard.service))


def _hours(notes: Notes, heard: Understood) -> Turn:
    return _aside(notes), Answer(text=hours(heard.day))


def _simple(notes: Notes, heard: Understood) -> Turn:
    return notes, Answer(text=_SAYS[heard.want])


# -- appointments


def _cancel(notes: Notes, heard: Understood) -> Turn:
    del heard
    cancelled = replace(_else(notes), service="", day="", time="")
    return cancelled, Answer(text=f"Your appointment is cancelled. {ELSE}")


def _change(notes: Notes, heard: Understood) -> Turn:
    moved = replace(notes, topic="book", day="", time="", service=notes.service or "visit")
    return _book(_with_facts(moved, heard), opening="Of course.")


def _begin_booking(notes: Notes, heard: Understood) -> Turn:
    opening = f"Yes, {heard.day} is free." if heard.want == "free" and heard.day else ""
    return _book(_with_facts(_open_booking(notes), heard), opening=opening)


def _no_keyword(notes: Notes, heard: Understood) -> Turn:
    if notes.topic == "book":
        return _booking_goes_on(notes, heard)
    if heard.name and not (heard.service or heard.day or heard.time):
        named = replace(_else(notes), name=heard.name)
        return named, Answer(text=f"Hello, {heard.name}. How can I help you?")
    return _begin_booking(notes, heard) if heard.slots else _small_talk(notes, heard)


def _booking_goes_on(notes: Notes, heard: Understood) -> Turn:
    if heard.slots:
        return _book(_with_facts(notes, heard), opening="")
    if notes.asked == "confirm" and (heard.yes or heard.no):
        return _confirmed(notes) if heard.yes else _denied(notes)
    if heard.yes or heard.no or heard.hello:
        return _book(notes, opening="")
    if notes.asked == "name" and 0 < len(heard.words.split()) <= 3:  # a name that no list knows
        return _book(replace(notes, name=heard.words.title()), opening="")
    return notes, Answer(text=f"{UNKNOWN} {_ASK.get(notes.asked, '')}".strip())


def _confirmed(notes: Notes) -> Turn:
    return _else(notes), Answer(
        text=(
            f"Good, that is booked. I have put down {notes.appointment}, and we will send you"
            f" a message the day before to remind you of it. {ELSE}"
        )
    )


def _denied(notes: Notes) -> Turn:
    return notes, Answer(text="I am sorry. What should be different: the day or the time?")


def _open_booking(notes: Notes) -> Notes:
    """Begin a booking, or stay in the one under way; a second one keeps only the name."""
    if notes.topic == "book":
        return notes
    return replace(notes, topic="book", service="", day="", time="")


def _book(notes: Notes, *, opening: str) -> Turn:
    missing = next((slot for slot in _ASK if not getattr(notes, slot)), "")
    if missing:
        known = f"Of course, {notes.appointment}." if notes.service or notes.day else "Of course."
        return replace(notes, asked=missing), Answer(text=f"{opening or known} {_ASK[missing]}")
    asks = f"Let me repeat that. You would like {notes.appointment}. Is that right?"
    return replace(notes, asked="confirm"), Answer(text=f"{opening} {asks}".strip())


# -- everything else


def _small_talk(notes: Notes, heard: Understood) -> Turn:
    if (notes.asked == "callback" and heard.yes) or heard.number:
        return _callback(notes, heard)
    if heard.no and notes.asked in ("else", "callback"):
        return _goodbye(notes, heard)
    if heard.thanks:
        return _else(notes), Answer(text=f"You are welcome. {ELSE}")
    if heard.hello:
        return notes, Answer(text=GREETING)
    agreed = heard.yes or heard.no
    return notes, Answer(text="Very well. How can I help you?" if agreed else UNKNOWN)


def _with_facts(notes: Notes, heard: Understood) -> Notes:
    return replace(
        notes,
        service=heard.service or notes.service,
        day=heard.day or notes.day,
        time=heard.time or notes.time,
        name=heard.name or notes.name,
    )


def _aside(notes: Notes) -> Notes:
    """Go back to the booking afterwards, if there is one under way."""
    return notes if notes.topic == "book" else _else(notes)


def _else(notes: Notes) -> Notes:
    return replace(notes, topic="", asked="else")


_TURNS: Final[Mapping[str, Callable[[Notes, Understood], Turn]]] = {
    "": _no_keyword,
    "address": _simple,
    "book": _begin_booking,
    "callback": _callback,
    "cancel": _cancel,
    "change": _change,
    "done": _goodbye,
    "free": _begin_booking,
    "goodbye": _goodbye,
    "help": _simple,
    "hours": _hours,
    "person": _person,
    "presence": _simple,
    "price": _price,
    "repeat": _repeat,
    "wait": _simple,
}
