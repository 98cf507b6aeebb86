"""Limits on a page's messages."""

import json

import pytest

from calls.events import Event, InputRefused
from calls.leg_events import EarMeasured
from transports.far_end import KEYS_CAP
from transports.webrtc.wire import EARS_CAP, MESSAGES_CAP, PageKey, PageMessages

pytestmark = pytest.mark.virtual_time

EAR = {"type": "ear", "buffer_s": 0.1, "playout_s": 0.02, "network_s": 0.01, "made_up_s": 0}


class Heard:
    """Accepted and refused messages."""

    def __init__(self) -> None:
        self.said: list[PageKey | EarMeasured] = []
        self.told: list[Event] = []
        self.lives = 0
        self.page = PageMessages(emit=self.told.append, heard=self.note)
        self.page.hear = self.hear

    def note(self) -> None:
        self.lives += 1

    async def hear(self, said: PageKey | EarMeasured) -> None:
        self.said.append(said)

    @property
    def refusals(self) -> list[str]:
        return [event.reason for event in self.told if isinstance(event, InputRefused)]


async def test_keys_are_limited_to_human_speed() -> None:
    heard = Heard()
    for _ in range(KEYS_CAP + 10):
        assert not await heard.page.take(json.dumps({"type": "key", "key": "5"}))

    assert len(heard.said) == KEYS_CAP
    assert heard.refusals == ["keys_faster_than_fingers"]


async def test_playback_delay_reports_are_limited() -> None:
    heard = Heard()
    for turn in range(1, 30):
        assert not await heard.page.take(json.dumps(EAR | {"turn": turn}))

    assert len(heard.said) == EARS_CAP
    assert heard.refusals == ["ears_too_often"]


async def test_a_flood_is_not_read_and_reported_once() -> None:
    heard = Heard()
    taken = [await heard.page.take("ping: 1") for _ in range(1000)]

    assert sum(taken) == MESSAGES_CAP
    assert heard.lives == MESSAGES_CAP
    assert heard.refusals == ["data_messages_too_fast"]
