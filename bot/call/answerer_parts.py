"""What a call that we placed has of its own to learn who picked up."""

from pipecat.processors.aggregators.llm_context import LLMContext

from bot.call.services import Services, Shared
from calls.answering import AnsweringPlan
from processors.answerer_watch import AnswererMeans, AnswererWatch
from processors.caller_silence import CallerSilence
from processors.farewell import Farewell
from processors.wiring import CallWiring


def answerer_for(  # noqa: PLR0913 - the parts of a call that it acts with, each by its name
    plan: AnsweringPlan,
    shared: Shared,
    *,
    services: Services,
    context: LLMContext,
    farewell: Farewell,
    silence: CallerSilence,
    wiring: CallWiring,
) -> AnswererWatch:
    """Return the one that listens to who picked up."""

    async def part(reason: str) -> None:
        await farewell.part(reason, final=True)

    def remember(words: str) -> None:
        context.add_message({"role": "user", "content": words})

    means = AnswererMeans(
        say=services.tts.queue_frame,
        part=part,
        excuse=silence.excuse,
        remember=remember,
        tell=wiring.outside,
        clock=wiring.clock,
    )
    return AnswererWatch(plan, means, speech=shared.models.vad(shared.settings.turn))
