"""What the parts of a call share beside the pipeline's list."""

from collections.abc import Callable
from dataclasses import dataclass, field

from calls.entry import Tell
from calls.events import Event
from calls.line import CallerLine
from calls.turn import Turn
from processors.turn.sound_path import Faintness


@dataclass(frozen=True, slots=True, kw_only=True)
class CallWiring:
    """All that passes between the parts of one call beside frames. It is made before them all.

    What a part needs of one above it, it is handed when it is made; what it needs of one below it
    stands here.

    Attributes:
        clock: Monotonic, in seconds. Read by all parts.
        turn: The turn in progress. `TurnOpener` opens its deadline and notes its first word, the
            voices' stage moves it as sound is queued, `CallObserver` numbers it; all stages, tools
            and the held line ask it.
        line: What is on the caller's line. The voices' stage and the held line add to it, the leg
            corrects it where its far end says what it has played; those three ask it.
        faintness: Of the caller's sound. The call's VAD has it hear; `TurnDetector` asks it, and
            whoever wants to know when the caller stopped.
        outside: Takes the facts: the emitter of the process.
        listeners: Parts of the call that hear the facts as well. The held line joins when it is
            made; it learns so of who is asked and who has failed, and of pauses that were judged.
    """

    clock: Callable[[], float]
    turn: Turn
    line: CallerLine
    outside: Tell
    faintness: Faintness = field(default_factory=Faintness)
    listeners: list[Tell] = field(default_factory=list[Tell])

    def tell(self, event: Event) -> None:
        """Tell a fact outside, and then to the parts of the call that listen."""
        self.outside(event)
        for listen in self.listeners:
            listen(event)
