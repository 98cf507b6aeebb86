"""Who answered a turn, by the lab's record: a recogniser, a model or a voice."""

from collections.abc import Iterable
from typing import Any

from lab.control import LabControl
from lab.drill.breaks import STANDBYS
from lab.drill.conversation import Conversation
from lab.drill.evidence import Judged
from lab.process import STAGE_OF


async def is_back(control: LabControl, call: Conversation, each: Judged, preferred: str) -> bool:
    """Return whether the preferred provider of a stage did a turn, and its standby had no part."""
    standby = STANDBYS[preferred]
    match STAGE_OF[preferred]:
        case "tts":
            return each.verdict.voices == (preferred,)
        case "llm":
            asked = {request.provider for request in each.requests}
            return preferred in asked and standby not in asked
        case _:
            span = call.lab_s(each.turn.began_s), call.lab_s(each.turn.end_s)
            wrote = [
                wrote_within(await control.requests(name), *span) for name in (preferred, standby)
            ]
            return wrote == [True, False]


def wrote_within(requests: Iterable[dict[str, Any]], from_s: float, until_s: float) -> bool:
    """Return whether a recogniser, asked for what it heard, wrote more words in that time."""
    for request in requests:
        flushed = [mark for mark in request["marks"] if mark["what"] == "flushed"]
        words = [mark["words"] for mark in flushed if mark["at_s"] <= until_s]
        before = [mark["words"] for mark in flushed if mark["at_s"] < from_s]
        if sum(words[-1:]) > sum(before[-1:]):
            return True
    return False
