"""Who has picked up a call that we placed, and what to do about it, by listening alone.

The rules, in prose. Time counts from the answer: what is heard of early media counts for nothing.

- Short speech, then silence: a person. They are spoken to at once.
- A phrase that only machines say decides as soon as it is recognised; so does a beep behind speech.
- Nothing decided after `decide_s`: undecided, which is a person as far as anybody can tell. What we
  have to say begins in their next pause, and at once if nobody speaks.
- A word falls as soon as one sentence that no person says is ahead of all that people say. What is
  done about it waits for more, or for a pause, and is taken back if a person's words come.
- A machine found later replaces an earlier word, but only while it talks on without regard to what
  we say, by a phrase in speech that is as long as no person's, or by a phrase and a beep. What is
  said in a talk, even of voicemail, counts for nothing: a person is never hung up on. A beep right
  behind a greeting that was too long for a person's needs no phrase.
- A mailbox gets the text behind its beep, or behind its silence if no beep comes.
- A telephone's assistant is told who calls and why, in its pause; then it all begins again, with
  the patience that a telephone takes to be picked up.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from processors.answerer.phrase_rules import Cue


class Answerer(StrEnum):
    """Who has picked up."""

    HUMAN = "human"
    VOICEMAIL = "voicemail"
    MENU = "menu"
    SCREENING = "screening"
    UNDECIDED = "undecided"  # treated as a person


MACHINES: Final = (Answerer.VOICEMAIL, Answerer.MENU)
BY_CUE: Final[Mapping[Cue, Answerer]] = {
    Cue.SCREENING: Answerer.SCREENING,
    Cue.MENU: Answerer.MENU,
    Cue.FULL: Answerer.VOICEMAIL,
    Cue.VOICEMAIL: Answerer.VOICEMAIL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweringRules:
    """How long what takes. LiveKit's detector has the same first three and the last."""

    human_speech_s: float = 2.5  # no longer: that was a person
    human_silence_s: float = 0.5  # behind it
    hello_s: float = 1.2  # behind more than a "hello?", `pause_s`: firms' greetings pause so soon
    machine_silence_s: float = 1.5  # behind a hint: a beep may come, or more words
    decide_s: float = 2.8  # chosen: the word falls within 3 s of the answer
    pause_s: float = 0.8  # of somebody who said more; Asterisk's AMD: after_greeting_silence 800 ms
    part_wait_s: float = 6.0  # for the pause of a machine that is not certain to be one (chosen)
    talker_s: float = 12.0  # somebody who never pauses is spoken to all the same (chosen)
    no_beep_s: float = 2.5  # of silence behind a mailbox's greeting: no beep will come
    beep_wait_s: float = 30.0
    screened_s: float = 30.0  # for a person whose assistant asks them
    overlap_s: float = 1.5  # a machine that pauses goes on so soon, whatever it hears (chosen)
    watch_s: float = 30.0  # after that nothing replaces a word any more
    talk_over_s: float = 1.5  # of speech over ours, which nobody has who is being spoken to
    least_speech_s: float = 0.4  # before a beep; a beep alone is a line's own


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineListening:
    """Whether we listen for machines before we speak.

    Attributes:
        listen: Whether at all.
        screening: Said to a telephone's assistant; empty: the greeting.
    """

    listen: bool = True
    screening: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweringPlan:
    """What is said to whom that is no person.

    Attributes:
        who: Who calls and why, for a telephone's assistant.
        message: Left in a mailbox; empty: a mailbox is hung up on.
    """

    who: str
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decide:
    """Tell who it is."""

    answerer: Answerer
    why: str  # short_greeting, words, beep, silence, time, carrier
    after_s: float  # from the answer
    revised: bool = False


@dataclass(frozen=True, slots=True)
class Open:
    """Say what the call is about: somebody is there."""


@dataclass(frozen=True, slots=True)
class SayWho:
    """Tell a telephone's assistant who calls and why."""


@dataclass(frozen=True, slots=True)
class StopTalking:
    """Say no more of what was begun: nobody hears it."""


@dataclass(frozen=True, slots=True)
class LeaveMessage:
    """Say the text for a mailbox, then hang up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartFromMachine:
    """Hang up without a word."""

    answerer: Answerer


AnsweringAction: TypeAlias = Decide | Open | SayWho | StopTalking | LeaveMessage | PartFromMachine
