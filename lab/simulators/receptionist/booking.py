"""Booking: asks for missing facts, repeats them, and confirms."""

from dataclasses import replace
from typing import Final

from lab.simulators.receptionist.notes import (
    Notes,
    ReceptionistAnswer,
    Turn,
    asking_else,
    with_facts,
)
from lab.simulators.receptionist.phrases import ELSE, UNKNOWN
from lab.simulators.receptionist.understood import Understood

_ASK: Final = {
    "service": (
        "What shall I book for you: a haircut, a consultation, a massage, a check up or a cleaning?"
    ),
    "day": "Which day would suit you?",
    "time": "At what time would you like to come?",
    "name": "What name may I put it under?",
}


def cancel(notes: Notes, heard: Understood) -> Turn:
    """Cancel the appointment."""
    del heard
    cancelled = replace(asking_else(notes), service="", day="", time="")
    return cancelled, ReceptionistAnswer(text=f"Your appointment is cancelled. {ELSE}")


def change(notes: Notes, heard: Understood) -> Turn:
    """Move the appointment to another time."""
    moved = replace(notes, topic="book", day="", time="", service=notes.service or "visit")
    return _ask_next_fact(with_facts(moved, heard), opening="Of course.")


def begin(notes: Notes, heard: Understood) -> Turn:
    """Start a booking, or add to the current one."""
    opening = f"Yes, {heard.day} is free." if heard.want == "free" and heard.day else ""
    return _ask_next_fact(with_facts(_open_booking(notes), heard), opening=opening)


def go_on(notes: Notes, heard: Understood) -> Turn:
    """Take the utterance as the answer to the booking's last question, if possible."""
    if heard.slots:
        return _ask_next_fact(with_facts(notes, heard), opening="")
    if notes.asked == "confirm" and (heard.yes or heard.no):
        return _confirm_booking(notes) if heard.yes else _ask_what_is_wrong(notes)
    if heard.yes or heard.no or heard.hello:
        return _ask_next_fact(notes, opening="")
    if notes.asked == "name" and 0 < len(heard.words.split()) <= 3:  # a name that is on no list
        return _ask_next_fact(replace(notes, name=heard.words.title()), opening="")
    return notes, ReceptionistAnswer(text=f"{UNKNOWN} {_ASK.get(notes.asked, '')}".strip())


def _confirm_booking(notes: Notes) -> Turn:
    return asking_else(notes), ReceptionistAnswer(
        text=(
            f"Good, that is booked. I have put down {notes.appointment}, and we will send you"
            f" a message the day before to remind you of it. {ELSE}"
        )
    )


def _ask_what_is_wrong(notes: Notes) -> Turn:
    return notes, ReceptionistAnswer(
        text="I am sorry. What should be different: the day or the time?"
    )


def _open_booking(notes: Notes) -> Notes:
    """Start a booking, or continue the current one; a second one keeps only the name."""
    if notes.topic == "book":
        return notes
    return replace(notes, topic="book", service="", day="", time="")


def _ask_next_fact(notes: Notes, *, opening: str) -> Turn:
    """Ask for the first missing fact; if none is missing, ask whether all are right."""
    missing = next((slot for slot in _ASK if not getattr(notes, slot)), "")
    if missing:
        known = f"Of course, {notes.appointment}." if notes.service or notes.day else "Of course."
        return replace(notes, asked=missing), ReceptionistAnswer(
            text=f"{opening or known} {_ASK[missing]}"
        )
    asks = f"Let me repeat that. You would like {notes.appointment}. Is that right?"
    return replace(notes, asked="confirm"), ReceptionistAnswer(text=f"{opening} {asks}".strip())
