"""The three stages of a call, built from the configured rungs; what all calls share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias, cast

from pipecat.processors.frame_processor import FrameProcessor

from bot.call.answerers import CarrierWords
from bot.call.briefs import Briefs
from bot.call.conversation import room_tokens
from bot.call.last_resort import LastResort
from bot.call.models import VoiceModels
from bot.call.summary_post import SummaryPosts
from bot.clock import Clock
from bot.config.agent import AgentSettings
from bot.config.rungs import rung_of
from bot.config.settings import Settings
from bot.config.stages import STAGES
from bot.tools.do_not_call import OptOuts
from fallbacks.ladder import StagePolicy
from operations.crm.port import CrmLookup
from processors.answering.continuation_rules import Answer
from processors.answering.model_stream import Model
from processors.answering.spoken_text_rules import SpokenTextRule
from processors.answering.stage import LlmStage
from processors.hearing.stage import SttStage
from processors.speaking.stage import TtsStage
from processors.turn.detector import TurnJudges
from processors.wiring import CallWiring
from providers.catalog import provider
from providers.provider import Stage
from transports.leg import People

Built: TypeAlias = Mapping[str, Mapping[str, FrameProcessor]]
"""The providers' services of a call, by stage and rung name; the preferred rung comes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What all calls of a process share."""

    settings: Settings
    models: VoiceModels
    judges: TurnJudges
    policies: Mapping[Stage, StagePolicy]
    clients: Mapping[str, object]  # shared clients of providers, by rung name
    last_resort: LastResort
    clock: Clock
    late_at_line: Callable[[float], None] | None = None  # takes by how many seconds audio was late
    people: People = field(default_factory=People)  # dials people for transfers
    posts: SummaryPosts = field(default_factory=lambda: SummaryPosts(None))
    do_not_call: OptOuts | None = None  # `None` if this process places no calls
    crm: CrmLookup | None = None  # `None` without a CRM
    carrier_words: CarrierWords = field(default_factory=CarrierWords)  # verdicts on who picked up
    briefs: Briefs = field(default_factory=Briefs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The three stages of a call, each a ladder of rungs."""

    stt: SttStage
    llm: LlmStage
    tts: TtsStage

    def speaker(self, processor: str) -> str:
        """Return the active rung of the stage with this Pipecat name."""
        working = {
            self.stt.name: self.stt.writer,
            self.llm.name: self.llm.speaker,
            self.tts.name: self.tts.speaker,
        }
        return working.get(processor) or processor


def build_rungs(
    stage: Stage, shared: Shared, *, agent: AgentSettings, sample_rate_hz: int
) -> dict[str, FrameProcessor]:
    """Return a stage's services by rung name, the preferred one first."""
    rungs = [
        rung_of(
            item,
            stage,
            agent=agent,
            sample_rate_hz=sample_rate_hz,
            shared=shared.clients.get(item.name),
        )
        for item in getattr(shared.settings.stages, stage)
    ]
    return {rung.name: provider(stage, rung.kind).build(rung) for rung in rungs}


def build_all(shared: Shared, agent: AgentSettings, *, sample_rate_hz: int) -> Built:
    """Return the services of all stages."""
    return {
        stage: build_rungs(stage, shared, agent=agent, sample_rate_hz=sample_rate_hz)
        for stage in STAGES
    }


def stages_of(shared: Shared, agent: AgentSettings, built: Built, wiring: CallWiring) -> Services:
    """Return the stages of a call."""
    cleaning = SpokenTextRule(**agent.spoken_text.model_dump())
    policies, tell, clock, turn = shared.policies, wiring.tell, wiring.clock, wiring.turn
    return Services(
        stt=SttStage(built["stt"], policy=policies["stt"], tell=tell, clock=clock, turn=turn),
        llm=LlmStage(
            cast("Mapping[str, Model]", built["llm"]),
            policy=policies["llm"],
            tell=tell,
            clock=clock,
            turn=turn,
            window_tokens=room_tokens(agent),
            new_answer=partial(Answer, cleaning, max_s=agent.max_reply_s),
        ),
        tts=TtsStage(
            built["tts"],
            policy=policies["tts"],
            tell=tell,
            clock=clock,
            turn=turn,
            line=wiring.line,
        ),
    )
