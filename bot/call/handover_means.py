"""What a handover is done with: the parts of a call, and of its process."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bot.call.person_call import PersonCall, PersonNews
from calls.handover import Destination
from processors.holding.caller_silence import CallerSilence
from processors.holding.farewell import End
from processors.holding.hold_line import HoldLine
from processors.holding.utterance_rules import Situation
from processors.transfer.joined_sound import JoinedSound
from processors.transfer.waiting_line import WaitingLine
from transports.leg import Leg
from transports.people import CallsPeople


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a call is about, in a sentence or two."""

    text: str
    by: str  # model, last_words
    took_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a handover is done with.

    Attributes:
        leg: The caller's.
        calls_people: Calls the person; None: no door of ours can.
        waiting: What the caller hears meanwhile.
        sound: Where the caller's sound is taken for the person.
        silence: Speaks to a silent caller, but not to one who is with a person.
        summarise: Says what the call is about, given why a person is wanted.
        make_person: Puts the agent's voice onto the leg of a person who has picked up.
        text: Returns a text for a situation, in the agent's language.
        end: Ends the call.
        hold_line: Holds the line for an answer that is owed, and reads the menu.
        call_back: Notes that the caller is to be called back.
    """

    leg: Leg
    calls_people: CallsPeople | None
    waiting: WaitingLine
    sound: JoinedSound
    silence: CallerSilence
    summarise: Callable[[str, Destination], Awaitable[Summary]]
    make_person: Callable[[Leg, PersonNews], PersonCall]
    text: Callable[[Situation], str]
    end: End
    hold_line: HoldLine
    call_back: Callable[[str], Awaitable[bool]]
