"""Objects that the parts of a call share besides the pipeline's frames."""

from collections.abc import Callable
from dataclasses import dataclass, field

from calls.entry import Tell
from calls.events import Event
from calls.line import CallerLine
from calls.turn import Turn
from processors.turn.floor import Floor
from processors.turn.sound_path import Faintness


@dataclass(frozen=True, slots=True, kw_only=True)
class CallWiring:
    """Shared objects of one call's parts, made before all of them.

    A part gets what it needs from a part above it in its constructor; what it needs from one below
    it is here.

    Attributes:
        clock: Monotonic, in seconds. Read by all parts.
        turn: The turn in progress. `TurnOpener` opens its deadline, the TTS stage moves it as audio
            is queued, `CallObserver` numbers it. All stages, the tools and `HoldLine` read it.
        floor: Who speaks, since when, and what is pending. `TurnOpener` updates it before any
            other processor gets the frame.
        line: The caller's line. The TTS stage and `HoldLine` add audio, and the leg corrects it if
            the far end reports what it has played. Those three read it.
        faintness: The level of the caller's audio. The call's VAD feeds it; `TurnDetector` and
            others that need the moment when the caller stopped read it.
        outside: Publishes events outside the call, through the emitter of the process.
        listeners: Parts of the call that also get the events. `HoldLine` joins when it is made, to
            learn of attempts, their failures and judged pauses.
    """

    clock: Callable[[], float]
    turn: Turn
    line: CallerLine
    floor: Floor
    outside: Tell
    faintness: Faintness = field(default_factory=Faintness)
    listeners: list[Tell] = field(default_factory=list[Tell])

    def tell(self, event: Event) -> None:
        """Publish an event outside the call, then to the parts that listen."""
        self.outside(event)
        for listen in self.listeners:
            listen(event)
