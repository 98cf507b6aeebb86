"""What a call that we placed has of its own to learn who picked up."""

from bot.call.core import Around, CallCore
from processors.answerer.answerer_rules import AnsweringPlan
from processors.answerer.watch import AnswererMeans, AnswererWatch


def answerer_for(plan: AnsweringPlan, call: Around, core: CallCore) -> AnswererWatch:
    """Return the one that listens to who picked up."""

    async def part(reason: str) -> None:
        await core.farewell.part(reason, final=True)

    def remember(words: str) -> None:
        core.context.add_message({"role": "user", "content": words})

    means = AnswererMeans(
        say=core.services.tts.queue_frame,
        part=part,
        excuse=core.silence.excuse,
        remember=remember,
        tell=call.wiring.outside,
        clock=call.wiring.clock,
    )
    return AnswererWatch(plan, means, speech=call.shared.models.vad(call.shared.settings.turn))
