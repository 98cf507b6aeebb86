"""The resources that all calls of a process share, and the services built from them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pipecat.processors.frame_processor import FrameProcessor

from bot.call.briefs import Briefs
from bot.call.last_resort import LastResort
from bot.call.models import VoiceModels
from bot.call.summary_post import SummaryPosts
from bot.do_not_call.opt_outs import OptOuts
from campaigns.order_gate import OrderGate
from configuration.agent import AgentSettings
from configuration.rungs import rung_of
from configuration.settings import Settings
from fallbacks.ladder import StagePolicy
from operations.crm.port import CrmLookup
from processors.turn.detector import TurnJudges
from providers.catalog import provider
from providers.provider import RungSpec, Stage
from runtime.clock import Clock
from transports.carrier_words import CarrierWords
from transports.leg import People


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
    gate: OrderGate  # admits or refuses each call to a number
    late_at_line: Callable[[float], None] | None = None  # called with the seconds audio was late
    people: People = field(default_factory=People)  # calls people for transfers
    posts: SummaryPosts = field(default_factory=lambda: SummaryPosts(None))
    do_not_call: OptOuts | None = None  # `None` if this process places no calls
    crm: CrmLookup | None = None  # `None` without a CRM
    carrier_words: CarrierWords = field(default_factory=CarrierWords)  # verdicts on who picked up
    briefs: Briefs = field(default_factory=Briefs)

    def rungs(
        self, stage: Stage, agent: AgentSettings, *, sample_rate_hz: int
    ) -> dict[str, FrameProcessor]:
        """Build a stage's services for one call; return them by rung name, the preferred first."""
        specs = [
            rung_of(
                item,
                stage,
                agent=agent,
                sample_rate_hz=sample_rate_hz,
                shared=self.clients.get(item.name),
            )
            for item in getattr(self.settings.stages, stage)
        ]
        return {spec.name: _build_service(spec) for spec in specs}


def _build_service(rung: RungSpec) -> FrameProcessor:
    """Return a rung's service; if one of Pipecat's cannot be built, one that refuses requests."""
    vendor = provider(rung.stage, rung.kind, rung.service)
    if not rung.service:
        return vendor.build(rung)
    try:
        return vendor.build(rung)
    except Exception as error:  # noqa: BLE001 - a vendor's or the owner's constructor
        from providers.adapter.broken import BrokenService  # noqa: PLC0415 - no such service, no import

        return BrokenService(rung, error)
