"""The receptionist's script: turns an utterance and the notes so far into an answer.

It is deterministic: every instance answers the same conversation with the same words. So after a
failover the words change only if the agent makes a mistake.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from lab.simulators.receptionist import booking
from lab.simulators.receptionist.notes import Notes, ReceptionistAnswer, Turn, asking_else
from lab.simulators.receptionist.phrases import ELSE, GOODBYE, GREETING, SAYS, UNKNOWN, hours, price
from lab.simulators.receptionist.understood import Understood


def step(notes: Notes, heard: Understood) -> Turn:
    """Return the answer to one utterance, and the updated notes."""
    notes, answer = _TURNS[heard.want](notes, heard)
    if heard.want != "repeat":
        notes = replace(notes, last=answer.text or answer.without_tool)
    return notes, answer


def _repeat_last(notes: Notes, heard: Understood) -> Turn:
    """Say the last answer again, or the greeting if there is none."""
    del heard
    return notes, ReceptionistAnswer(text=f"I said: {notes.last or GREETING}")


def _say_goodbye(notes: Notes, heard: Understood) -> Turn:
    text = f"Very well. {GOODBYE}" if heard.want == "done" or heard.no else GOODBYE
    return replace(notes, topic="", asked=""), ReceptionistAnswer(text=text, tool="end_call")


def _transfer_to_person(notes: Notes, heard: Understood) -> Turn:
    """Call the tool for a transfer; if it is not offered, offer a callback."""
    del heard
    refused = (
        "I am sorry, I cannot put you through to a person from here. Shall somebody call you back?"
    )
    asked = replace(notes, topic="", asked="callback")
    return asked, ReceptionistAnswer(tool="transfer_to_person", without_tool=refused)


def _note_callback(notes: Notes, heard: Understood) -> Turn:
    """Call the tool for a callback, to the number said or known; a yes then confirms it."""
    notes = asking_else(replace(notes, number=heard.number or notes.number))
    notes = replace(notes, asked="callback")  # a following yes confirms the number
    noted = f"That is noted. Somebody will call you back. {ELSE}"
    return notes, ReceptionistAnswer(tool="request_callback", without_tool=noted)


def _tell_price(notes: Notes, heard: Understood) -> Turn:
    return _notes_after_aside(notes), ReceptionistAnswer(text=price(heard.service))


def _tell_hours(notes: Notes, heard: Understood) -> Turn:
    return _notes_after_aside(notes), ReceptionistAnswer(text=hours(heard.day))


def _fixed_answer(notes: Notes, heard: Understood) -> Turn:
    return notes, ReceptionistAnswer(text=SAYS[heard.want])


def _no_keyword(notes: Notes, heard: Understood) -> Turn:
    """Continue the booking, greet a caller who gives a name, begin a booking, or just talk."""
    if notes.topic == "book":
        return booking.go_on(notes, heard)
    if heard.name and not (heard.service or heard.day or heard.time):
        named = replace(asking_else(notes), name=heard.name)
        return named, ReceptionistAnswer(text=f"Hello, {heard.name}. How can I help you?")
    return booking.begin(notes, heard) if heard.slots else _small_talk(notes, heard)


def _small_talk(notes: Notes, heard: Understood) -> Turn:
    """Answer yes, no, thanks, a greeting or a number; else say that it was not understood."""
    if (notes.asked == "callback" and heard.yes) or heard.number:
        return _note_callback(notes, heard)
    if heard.no and notes.asked in ("else", "callback"):
        return _say_goodbye(notes, heard)
    if heard.thanks:
        return asking_else(notes), ReceptionistAnswer(text=f"You are welcome. {ELSE}")
    if heard.hello:
        return notes, ReceptionistAnswer(text=GREETING)
    agreed = heard.yes or heard.no
    return notes, ReceptionistAnswer(text="Very well. How can I help you?" if agreed else UNKNOWN)


def _notes_after_aside(notes: Notes) -> Notes:
    """Return the notes after a side question: the booking goes on, if there is one."""
    return notes if notes.topic == "book" else asking_else(notes)


_TURNS: Final[Mapping[str, Callable[[Notes, Understood], Turn]]] = {
    "": _no_keyword,
    "address": _fixed_answer,
    "book": booking.begin,
    "callback": _note_callback,
    "cancel": booking.cancel,
    "change": booking.change,
    "done": _say_goodbye,
    "free": booking.begin,
    "goodbye": _say_goodbye,
    "help": _fixed_answer,
    "hours": _tell_hours,
    "person": _transfer_to_person,
    "presence": _fixed_answer,
    "price": _tell_price,
    "repeat": _repeat_last,
    "wait": _fixed_answer,
}
