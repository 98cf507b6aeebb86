"""What a callback said of a dial is known in the whole house, whichever worker it reached."""

from bot.outbound.heard_legs import HeardLegs
from calls.leg_events import LegAnswered, LegEnded
from campaigns.heard_leg import HeardLeg
from tests.bot.house.lines import lines
from tests.bot.house.test_office import settings_with


async def test_the_worker_that_dials_knows_what_another_was_told() -> None:
    async with lines(settings_with()) as it:
        here, there = HeardLegs(), HeardLegs()
        here.join(it.joined[0])
        there.join(it.joined[1])
        await it.open()
        it.office.tell_state()
        await it.settle()
        here.note(LegAnswered(call_ref="c", ref="d", after_s=1.0))
        there.note(LegEnded(call_ref="c", ref="d", outcome="completed"))

        assert await here.of("d") == HeardLeg(call_ref="c", answered=True, ended="completed")
        assert await here.of("another") is None


async def test_a_dial_that_is_over_is_forgotten() -> None:
    legs = HeardLegs()
    legs.note(LegEnded(call_ref="c", ref="d", outcome="busy"))
    legs.forget("d")

    assert await legs.of("d") is None
