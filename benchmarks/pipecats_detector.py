"""Pipecat's own turn detector, with a thread for each call and the shared model."""

from pipecat.audio.turn.smart_turn.base_smart_turn import BaseSmartTurn, SmartTurnParams
from pipecat.audio.turn.smart_turn.local_smart_turn_v3 import LocalSmartTurnAnalyzerV3

from bot.call.models import VoiceModels
from configuration.settings import TurnSettings


class _PipecatsDetector(LocalSmartTurnAnalyzerV3):
    """Shares the model; otherwise loading it for each call would be measured."""

    def __init__(self, models: VoiceModels, *, params: SmartTurnParams) -> None:
        BaseSmartTurn.__init__(self, params=params)  # skips the parent, which would load the model
        self._log_data = False
        self._session = models._smart_turn  # noqa: SLF001 - only here


def pipecats_detector(models: VoiceModels, turn: TurnSettings) -> BaseSmartTurn:
    """Return Pipecat's end-of-turn detector for one call."""
    return _PipecatsDetector(models, params=SmartTurnParams(stop_secs=turn.smart_turn_stop_s))
