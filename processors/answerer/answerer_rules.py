"""The rules of answering machine detection, and its values.

Time counts from the answer: early media is ignored.

- Short speech, then silence: a person. The agent speaks at once.
- A phrase that only machines say decides as soon as it is recognised; so does a beep after speech.
- Without a decision after `decide_s` the answerer is undecided, and treated as a person. The agent
  speaks in their next pause, or at once if there is no speech.
- A decision is made as soon as the points of a machine's phrases exceed a person's by one sentence
  that only machines say. The action waits for more, or for a pause, and is taken back if a person's
  words come.
- A machine found later replaces an earlier decision, but only if it talks on over our speech: by a
  phrase in speech longer than any person's greeting, or by a phrase and a beep. What is said in a
  conversation, even about voicemail, does not count: we never hang up on a person. A beep right
  after a greeting too long for a person needs no phrase.
- A mailbox gets the message after its beep, or after its silence if no beep comes.
- A call-screening assistant is told who calls and why, in its pause. Then detection starts over,
  with the patience for a telephone that rings.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from processors.answerer.phrase_rules import Cue


class Answerer(StrEnum):
    """Who answered."""

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
    """The time limits. The first three and the last are those of LiveKit's detector."""

    human_speech_s: float = 2.5  # speech up to this length is a person's
    human_silence_s: float = 0.5  # after it
    hello_s: float = 1.2  # longer speech needs `pause_s`: firms' greetings pause that soon
    machine_silence_s: float = 1.5  # after a hint: a beep may come, or more words
    decide_s: float = 2.8  # the decision is made within 3 s of the answer (chosen)
    pause_s: float = 0.8  # after longer speech; Asterisk's AMD: after_greeting_silence 800 ms
    part_wait_s: float = 6.0  # for the pause of a machine that is not certain to be one (chosen)
    talker_s: float = 12.0  # the agent speaks to a person who never pauses (chosen)
    no_beep_s: float = 2.5  # of silence after a mailbox's greeting: no beep will come
    beep_wait_s: float = 30.0
    screened_s: float = 30.0  # for a person whose assistant asks them
    overlap_s: float = 1.5  # a machine continues within this pause, whatever it hears (chosen)
    watch_s: float = 30.0  # after that nothing replaces a decision
    talk_over_s: float = 1.5  # of speech over ours; a person would stop sooner
    least_speech_s: float = 0.4  # before a beep; a beep without speech belongs to the line


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineListening:
    """Whether we listen for machines before we speak.

    Attributes:
        listen: Whether detection is on.
        screening: Said to a call-screening assistant; if empty, the greeting is.
    """

    listen: bool = True
    screening: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweringPlan:
    """What is said to a machine.

    Attributes:
        who: Who calls and why, for a call-screening assistant.
        message: Left in a mailbox; if empty, we hang up on mailboxes.
    """

    who: str
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decide:
    """Report who answered."""

    answerer: Answerer
    why: str  # short_greeting, words, beep, silence, time, carrier
    after_s: float  # from the answer
    revised: bool = False


@dataclass(frozen=True, slots=True)
class Open:
    """Say what the call is about: a person is on the line."""


@dataclass(frozen=True, slots=True)
class SayWho:
    """Tell a call-screening assistant who calls and why."""


@dataclass(frozen=True, slots=True)
class StopTalking:
    """Stop our speech: no person hears it."""


@dataclass(frozen=True, slots=True)
class LeaveMessage:
    """Say the message for a mailbox, then hang up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartFromMachine:
    """Hang up without a word."""

    answerer: Answerer


AnsweringAction: TypeAlias = Decide | Open | SayWho | StopTalking | LeaveMessage | PartFromMachine
