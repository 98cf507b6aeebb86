"""The rules, time limits and actions of answering machine detection.

Time is measured from the answer; early media is ignored.

- Short speech, then silence: a person. The agent speaks at once.
- Words alone never decide that we hang up or leave a message: a person may say all of them ("My
  mailbox is full, so call me again"). It takes the course of a recording as well: a beep after
  speech, or `recording_s` of speech without a pause for an answer. Otherwise the answerer is
  treated as a person when they pause.
- Without a decision after `decide_s`, the answerer is undecided, and treated as a person. The agent
  speaks in the answerer's next pause, or at once if there is no speech.
- Phrases have points. A machine is reported as soon as a machine's points exceed a person's by one
  sentence of a machine. The action waits for the course. If a person's words follow, or a pause
  comes first, the report is taken back.
- A machine may be found after an earlier decision, but only if it talks on over our speech: by a
  phrase in speech that is longer than a person's greeting, or by a phrase and a beep. Directly
  after a greeting too long for a person, a beep needs no phrase. Words in a conversation, even
  about voicemail, do not count: we never hang up on a person.
- A mailbox gets the message after its beep, or after silence if there is no beep.
- A call-screening assistant is told who calls and why, in its pause. Then detection starts over,
  with more time, because a telephone may ring now.
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

    human_speech_s: float = 2.5  # longer speech is not a person's greeting
    human_silence_s: float = 0.5  # silence after a short greeting
    hello_s: float = 1.2  # longer speech needs `pause_s`: firms' greetings have short pauses
    machine_silence_s: float = 1.5  # silence after a machine's phrase: a beep or words may follow
    decide_s: float = 2.8  # so that the decision is made within 3 s of the answer (chosen)
    pause_s: float = 0.8  # silence after longer speech; as after_greeting_silence in Asterisk's AMD
    recording_s: float = 7.0  # of speech without a pause; people give a caller a turn (chosen)
    talker_s: float = 12.0  # then the agent speaks to a person who never pauses (chosen)
    beep_due_s: float = 2.1  # silence after a machine's sentence: a pause, a beep and its detection
    no_beep_s: float = 2.5  # silence after a recorded greeting that shows that no beep follows
    beep_wait_s: float = 30.0  # the longest wait for a beep
    screened_s: float = 30.0  # for a person to answer after a call-screening assistant
    overlap_s: float = 1.5  # a machine never pauses for longer than this when we speak (chosen)
    watch_s: float = 30.0  # how long a decision may be replaced
    talk_over_s: float = 1.5  # speech over ours; a person would stop sooner
    least_speech_s: float = 0.4  # before a beep; a beep without speech is a sound of the line


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineListening:
    """Whether we listen for machines before we speak.

    Attributes:
        listen: Whether detection is on.
        screening: The words for a call-screening assistant; if empty, the greeting.
    """

    listen: bool = True
    screening: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweringPlan:
    """The words for machines.

    Attributes:
        who: Who calls and why, for a call-screening assistant.
        message: The message for a mailbox; if empty, we hang up on mailboxes.
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
    """Begin the conversation: a person is on the line."""


@dataclass(frozen=True, slots=True)
class SayWho:
    """Tell a call-screening assistant who calls and why."""


@dataclass(frozen=True, slots=True)
class StopTalking:
    """Stop our speech, because no person hears it."""


@dataclass(frozen=True, slots=True)
class LeaveMessage:
    """Say the message for a mailbox, then hang up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartFromMachine:
    """Hang up without a word."""

    answerer: Answerer


AnsweringAction: TypeAlias = Decide | Open | SayWho | StopTalking | LeaveMessage | PartFromMachine
