"""Finds the providers that served a turn in the lab's record: recogniser, model or voice."""

from collections.abc import Iterable
from typing import Any

from lab.control import LabControl
from lab.drill.breaks import STANDBYS
from lab.drill.evidence import JudgedTurn
from lab.drill.rig import Conversation
from lab.process import STAGE_OF


async def is_back(
    control: LabControl, call: Conversation, judged: JudgedTurn, preferred: str
) -> bool:
    """Return whether a stage's preferred provider served a turn without its standby."""
    standby = STANDBYS[preferred]
    match STAGE_OF[preferred]:
        case "tts":
            return judged.verdict.voices == (preferred,)
        case "llm":
            asked = {request.provider for request in judged.requests}
            return preferred in asked and standby not in asked
        case _:
            span = call.lab_s(judged.turn.began_s), call.lab_s(judged.turn.end_s)
            wrote = [
                wrote_within(await control.requests(name), *span) for name in (preferred, standby)
            ]
            return wrote == [True, False]


def wrote_within(requests: Iterable[dict[str, Any]], from_s: float, until_s: float) -> bool:
    """Return whether a recogniser transcribed words in that time."""
    for request in requests:
        flushed = [mark for mark in request["marks"] if mark["what"] == "flushed"]
        # A mark has the number of words so far; the sums are those of the last mark, or 0.
        words = [mark["words"] for mark in flushed if mark["at_s"] <= until_s]
        earlier = [mark["words"] for mark in flushed if mark["at_s"] < from_s]
        if sum(words[-1:]) > sum(earlier[-1:]):
            return True
    return False
