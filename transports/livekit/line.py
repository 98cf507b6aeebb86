"""Our connection to a LiveKit room, kept through a restart of the server."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from livekit import rtc
from loguru import logger

from fallbacks.retrying import Backoff
from transports.leg import Clock
from transports.livekit.room import (
    LEAD_MS,
    RATE_HZ,
    Ears,
    LineError,
    RoomPlace,
    is_person,
    join,
    leave,
    press,
    publish,
)
from transports.livekit.room_watch_rules import RoomWatch
from transports.livekit.words import (
    CALLER_HUNG_UP,
    CLIENT_INITIATED,
    SENT_AWAY,
    SipParty,
    end_of,
    has_hung_up,
    is_answered,
    party_of,
    shown,
)

TAKE_UP_S: Final = 2.0  # for the caller's gateway to subscribe before our track is published again
OFFERS: Final = 2  # how often it is published again
AGAIN_S: Final = 2.0  # chosen: the longest pause between two tries; the caller hears nothing


class LivekitLine:
    """The far end of a room, and whether our sound is heard there.

        line = LivekitLine(place, clock=clock.monotonic)
        await line.open()          # in the room, our track published: livekit-sip picks up
        await line.caller_came()   # `line.party` identifies the caller
        reason = await line.watch()

    The library finds a lost server again by itself for a while; when it gives up, we join again.

    Attributes:
        party: The caller, once there.
        left_for: LiveKit's code of why the caller left; 0 while the caller is there.
        sound: The caller's current track.
        watched: Decides how long we stay.
        usable: Set while our sound is heard: writers wait for it.
        answered: Set once the far end has answered.
    """

    def __init__(self, place: RoomPlace, *, clock: Clock) -> None:
        self.place = place
        self.clock = clock
        self.source = rtc.AudioSource(RATE_HZ, 1, queue_size_ms=LEAD_MS)
        self.party: SipParty | None = None
        self.left_for = 0
        self.sound: rtc.Track | None = None
        self.usable, self.answered = asyncio.Event(), asyncio.Event()
        self.on_sound: Callable[[rtc.Track], None] = lambda _: None
        self.on_key: Callable[[str], None] = lambda _: None
        self.on_lost: Callable[[], None] = lambda: None
        self.on_restored: Callable[[float], None] = lambda _: None
        self.on_refused: Callable[[str], None] = lambda _: None
        self._refused: set[str] = set()
        self._heard: rtc.RemoteTrackPublication | None = None
        self._room: rtc.Room | None = None
        self.watched = RoomWatch(clock())
        self._news = asyncio.Event()
        self._closed = self._adrift = self._taken_up = self._given_up = False
        self._joined, self._offers = 0, OFFERS
        self._lost_at: float | None = None

    async def open(self) -> None:
        """Join and publish.

        Raises:
            LineError: The server refuses us or cannot be reached.
        """
        self._adrift = self._taken_up = False
        self._room = await join(self.place, self.source, self._ears(), self._leave_flood)

    async def caller_came(self) -> bool:
        """Return once the caller is in the room; return False if the wait ends without a caller."""
        while self.party is None and not (self.watched.over or self._given_up):
            await self._wait()
        return self.party is not None

    def give_up(self) -> None:
        """Stop waiting for the caller; harmless if the caller has arrived."""
        self._given_up = True
        self._news.set()

    async def watch(self) -> str:
        """Keep the line, and return the reason's name once it is over."""
        backoff = Backoff()
        while not self.watched.over:
            if self._adrift:
                backoff.down(self.clock())
                await asyncio.sleep(min(backoff.next_s(), AGAIN_S))
                if not self._closed:
                    await self._join_anew()
                if not self._adrift:
                    backoff.up(self.clock())
            elif self._unheard:
                await self._offer_anew()
            else:
                await self._wait()
            self.watched.tick(self.clock())
        return self.watched.over

    async def press(self, key: str, *, code: int) -> None:
        """Send a key to the far end.

        Raises:
            LineError: The server did not accept it.
        """
        if self._room is not None:
            await press(self._room, key, code=code)

    def hush(self) -> None:
        """Drop pending sound; harmless if we have left the room."""
        if not self._closed:
            self.source.clear_queue()

    async def close(self) -> None:
        """Leave the room; harmless if we have left it."""
        if self._closed:
            return
        self._closed = True
        self.watched.line_ended()  # for its watcher, which has nothing left to watch
        self._news.set()
        if self._room is not None:
            await leave(self._room)
        await self.source.aclose()

    @property
    def _unheard(self) -> bool:
        """Whether caller and server are there but the far end has not subscribed to our track."""
        return self.watched.up and self.watched.here and not self._taken_up

    def _ears(self) -> Ears:
        """Return the ears for the room being joined, which hear as long as the room is ours."""
        self._joined += 1
        number = self._joined

        def ear(learn: Callable[..., None]) -> Callable[..., None]:
            def hear(*said: Any) -> None:
                if number == self._joined and not self._closed:
                    learn(*said)
                    self._settle()
                    self._news.set()

            return hear

        return {
            "participant_connected": ear(self._see),
            "participant_attributes_changed": ear(lambda _, person: self._see(person)),
            "participant_disconnected": ear(self._miss),
            "track_subscribed": ear(self._hear),
            "sip_dtmf_received": ear(self._press),
            "local_track_subscribed": ear(lambda _: self._take_up()),
            "local_track_republished": ear(lambda *_: self._take_up(again=True)),
            "reconnecting": ear(lambda: self.watched.line_lost(self.clock())),
            "reconnected": ear(lambda: self.watched.line_restored(self.clock())),
            "disconnected": ear(self._part),
        }

    def _see(self, person: rtc.Participant) -> None:
        """Record a person in the room, or what the gateway has told about one."""
        if not is_person(person) or self._is_other(person):
            return
        self.party = self.party or party_of(person.identity, person.attributes)
        if has_hung_up(person.attributes):
            self.left_for = self.left_for or CLIENT_INITIATED
            self.watched.caller_left(self.clock(), over=CALLER_HUNG_UP)
            return
        self.left_for = 0
        self.watched.caller_came(self.clock())
        if is_answered(person.attributes):
            self.answered.set()

    def _miss(self, person: rtc.RemoteParticipant) -> None:
        if not self._is_other(person):
            self.left_for, self._taken_up = int(person.disconnect_reason or 0), False
            over = end_of(self.left_for, person.attributes)
            self.watched.caller_left(self.clock(), over=over)

    def _hear(
        self,
        track: rtc.Track,
        publication: rtc.RemoteTrackPublication,
        person: rtc.RemoteParticipant,
    ) -> None:
        audio = track.kind == rtc.TrackKind.KIND_AUDIO
        if not (audio and is_person(person) and not self._is_other(person)):
            self._refuse(publication, "unwanted_track")
            return
        before, self._heard = self._heard, publication
        if before and before.sid != publication.sid and before.sid in person.track_publications:
            self._refuse(before, "second_track")
        self.sound = track
        self.on_sound(track)

    def _refuse(self, publication: rtc.RemoteTrackPublication, reason: str) -> None:
        """Unsubscribe from a track that nothing reads."""
        publication.set_subscribed(False)
        if reason not in self._refused:
            self._refused.add(reason)
            self.on_refused(reason)

    def _leave_flood(self) -> None:
        """End a line whose room has more events than any call."""
        self.on_refused("room_events_too_fast")
        self.watched.line_ended()
        self._news.set()

    def _press(self, key: rtc.SipDTMF) -> None:
        """Pass on a key of the caller's, or of a participant that the server does not name."""
        if key.participant is None or (
            self.party and key.participant.identity in ("", self.party.identity)
        ):
            self.on_key(key.digit)

    def _take_up(self, *, again: bool = False) -> None:
        """Record a subscription to our track, or that the track was published again."""
        self._taken_up = not again
        if self._taken_up:  # the server may restart again during this call
            self._offers = OFFERS

    def _part(self, reason: int) -> None:
        """Record the end of the connection; the library does nothing more."""
        if int(reason) in SENT_AWAY:
            self.watched.line_ended()
            return
        self.watched.line_lost(self.clock())
        self._adrift, self._taken_up = True, False

    def _is_other(self, person: rtc.Participant) -> bool:
        """Return whether someone is not the caller."""
        return self.party is not None and person.identity != self.party.identity

    def _settle(self) -> None:
        """Let writers continue or make them wait; report a restored line."""
        if not (self.watched.up and self.watched.here and self._taken_up):
            if self.usable.is_set() and self._lost_at is None:
                self._lost_at = self.clock()
                self.on_lost()
            self.usable.clear()
            return
        self.usable.set()
        if self._lost_at is not None:
            self.on_restored(self.clock() - self._lost_at)
            self._lost_at = None

    async def _wait(self) -> None:
        """Return at the next event, or when the watch needs a decision."""
        self._news.clear()
        wake_at = self.watched.wake_at
        left_s = None if wake_at is None else max(0.0, wake_at - self.clock())
        with suppress(TimeoutError):
            async with asyncio.timeout(left_s):
                await self._news.wait()
        self.watched.tick(self.clock())

    async def _join_anew(self) -> None:
        try:
            await self.open()
        except LineError as refused:
            self._adrift = True
            logger.info("{}: {}", shown(self.place.room), refused)
            return
        self.watched.line_restored(self.clock())
        self._settle()

    async def _offer_anew(self) -> None:
        """Publish our track again if the far end did not subscribe in time after a reconnect.

        After the last time we talk on anyway: some far ends do not report that they subscribed.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(TAKE_UP_S):
                while self._unheard and not self.watched.over:
                    await self._wait()
        if not self._unheard or self._room is None:
            return
        if self._offers:
            with suppress(LineError):
                await publish(self._room, self.source)
                self._offers -= 1  # a refusal by the server says nothing about the far end
        else:
            self._taken_up = True
            self._settle()
