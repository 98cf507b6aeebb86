"""Answers the question about a call's result: one JSON object; pure."""

import json
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from lab.simulators.receptionist.messages import Message, text_of

ASKED: Final = re.compile(r"one JSON object.*\"outcome\": exactly one of ([a-z0-9_, ]+)\.", re.S)
ENDED: Final = re.compile(r"call ended at (\d{4}-\d\d-\d\dT[\d:]+(?:[+-]\d\d:\d\d)?)")
SAYS: Final = (
    ("do_not_call", re.compile(r"(?:not|never|stop) call|off (?:your|the) list", re.I)),
    ("callback", re.compile(r"call (?:me )?back|callback|call me (?:later|tomorrow)", re.I)),
    ("wrong_person", re.compile(r"wrong (?:number|person)", re.I)),
    ("", re.compile(r"that is right|\byes\b|confirm", re.I)),  # the first code
)
HOUR: Final = 9  # tomorrow, if no time is named


def asks_for_outcome(messages: Sequence[Message]) -> bool:
    """Return whether the first message asks for a call's result."""
    return bool(messages) and ASKED.search(text_of(messages[0])) is not None


def outcome(messages: Sequence[Message]) -> str:
    """Return the answer."""
    asked = text_of(messages[0])
    found = ASKED.search(asked)
    codes = [word.strip() for word in (found[1] if found else "unclear").split(",")]
    lines = "\n".join(text_of(message) for message in messages[1:]).splitlines()
    said = [line.partition(":")[2].strip() for line in lines if line.startswith("Person:")]
    code = _code(" ".join(said), codes)
    return json.dumps(
        {
            "summary": f"The person said: {said[-1]}" if said else "Nothing was said.",
            "outcome": code,
            "callback_at": _tomorrow(asked, " ".join(said)) if code == "callback" else None,
            "notes": "",
        }
    )


def _code(said: str, codes: Sequence[str]) -> str:
    for code, words in SAYS:
        wanted = code or codes[0]
        if words.search(said) and wanted in codes:
            return wanted
    return "unclear" if "unclear" in codes else codes[-1]


def _tomorrow(asked: str, said: str) -> str | None:
    ended = ENDED.search(asked)
    if ended is None or "tomorrow" not in said.lower():
        return None
    morning = datetime.fromisoformat(ended[1]) + timedelta(days=1)
    return morning.replace(hour=HOUR, minute=0).isoformat(timespec="minutes")
