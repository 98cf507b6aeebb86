"""What becomes of a turn of the caller's of which no word was written down.

A laugh, a door, a neighbour's voice: the detector of speech hears somebody, and whatever the agent
was doing is cut off, but there is nothing to answer. What the caller asked before is still asked.
"""

from enum import StrEnum


class AfterSound(StrEnum):
    """What to do when such a turn is over."""

    ANSWER = "answer"  # what was asked before it, and has had no word of an answer
    ASK_AGAIN = "ask_again"  # have the caller say it once more
    NOTHING = "nothing"


def after_sound(*, led: bool, unanswered: bool, cut: bool, owed: bool, asked: bool) -> AfterSound:
    """Return what to do.

    Args:
        led: Somebody else speaks to the caller: a menu, or a person.
        unanswered: The conversation ends with something that the model has not answered.
        cut: The sound cut off what the agent was saying.
        owed: The line is held for it: a recogniser failed, so there may have been words.
        asked: The caller was asked to say it again, and no word has come since.
    """
    if led:
        return AfterSound.NOTHING
    if unanswered:
        return AfterSound.ANSWER
    if (cut or owed) and not asked:
        return AfterSound.ASK_AGAIN
    return AfterSound.NOTHING
