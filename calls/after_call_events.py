"""Facts of what is found out about a call after it has ended; none has a word or a number in it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSummarised:
    """What a call came to was written down, behind its end."""

    call_id: str
    made_by: str  # model, facts
    outcome: str
    provider: str = ""  # the rung that answered
    why: str = ""  # no model did it: a code
    took_s: float = 0.0  # from the call's end


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackQueued:
    """Whoever asked to be called back was given to a campaign, or was not."""

    call_id: str
    campaign: str
    outcome: str  # added, moved, do_not_call, no_number
    wait_s: float = 0.0  # from now until they may be called
