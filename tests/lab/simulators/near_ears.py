"""Runs the lab's recogniser in this process, for virtual time, which no other process shares."""

import asyncio

from lab.simulators.ears.ears import Ears, WorkerMessage
from lab.simulators.ears.heard import HeardAudio, HearingSettings
from lab.simulators.ears.hearing import Hearing
from lab.simulators.instance import Instance
from lab.simulators.lab import Lab
from tests.virtual_time import VirtualLoop


class NearEars(Ears):
    """Recognises like the worker process, but at once, without time passing."""

    def __init__(self) -> None:
        super().__init__()
        self._hearings: dict[int, Hearing] = {}

    async def start(self) -> None:
        """There is nothing to start."""

    async def stop(self) -> None:
        self._hearings.clear()

    async def send(self, number: int, kind: WorkerMessage, content: bytes = b"") -> None:
        for heard in self._obey(number, kind, content):
            if number in self._streams:
                self._streams[number].put(heard)

    def _obey(self, number: int, kind: WorkerMessage, content: bytes) -> list[HeardAudio]:
        match kind:
            case WorkerMessage.OPEN:
                return self._open(number, content)
            case WorkerMessage.AUDIO if number in self._hearings:
                return list(self._hearings[number].hear(content))
            case WorkerMessage.FLUSH if number in self._hearings:
                return list(self._hearings[number].flush())
            case WorkerMessage.CLOSE:
                self._hearings.pop(number, None)
            case _:
                pass
        return []

    def _open(self, number: int, settings: bytes) -> list[HeardAudio]:
        try:
            self._hearings[number] = Hearing(HearingSettings.from_json(settings))
        except ValueError as wrong:
            return [HeardAudio(what="failed", start_s=0, end_s=0, why=str(wrong))]
        return []


def hear_near(instance: Instance) -> None:
    """Let users of `Ears` recognise speech in this process if the test is on virtual time."""
    if not isinstance(asyncio.get_running_loop(), VirtualLoop):
        return
    for name, part in list(vars(instance).items()):
        if isinstance(part, Ears):
            setattr(instance, name, NearEars())


def bring_near(lab: Lab) -> Lab:
    """Let all recognisers of a lab work in this process if the test is on virtual time."""
    for instance in lab.instances.values():
        hear_near(instance)
    return lab
