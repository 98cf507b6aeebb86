"""The drill on real calls: a voice that is cut, with Pipecat's own failover in the server.

Stock Pipecat is known to lose the words after a cut, whatever Holdline does; so these tests show
whether the drill notices it.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from lab.callers import answers
from lab.drill.breaks import tts
from lab.drill.measured import MeasuredRun
from lab.drill.plans import play
from lab.drill.rig import open_rig
from lab.drill.rows import Row
from lab.drill.servers import OURS, STOCK

pytestmark = [pytest.mark.slow, pytest.mark.long]

HEALTHY_TURN = Row(name="one-turn", title="Nothing")
CUT = Row(name="cut", title="TTS cut", breaks=tts({"fault": "cut", "after_words": 7}))


async def test_a_call_on_the_loopback_leg_is_judged_like_one_from_the_carrier(
    tmp_path: Path,
) -> None:
    row = replace(HEALTHY_TURN, leg="loopback")
    async with open_rig(row, OURS, run=1, folder=tmp_path) as rig:
        await play(rig, run := MeasuredRun())

    (turn,) = run.turns
    assert turn.verdict.whole, turn.verdict
    assert run.measures["misheard"] == 0
    assert 0.3 < run.measures["first_word_s"] < 4.0
    assert rig.failures() == []


async def test_the_words_after_a_cut_are_missed_in_a_stock_pipeline(tmp_path: Path) -> None:
    async with open_rig(CUT, STOCK, run=1, folder=tmp_path) as rig:
        await play(rig, run := MeasuredRun())

    (turn,) = run.turns
    (answer,) = answers([CUT.question], greeting="Hello.")
    assert run.measures["lost_turns"] == 1
    assert [word.text for word in turn.verdict.words] == answer.split()[:7]
    assert turn.verdict.first_word_s is not None
    assert any(request.fault == "cut" for request in turn.requests)
