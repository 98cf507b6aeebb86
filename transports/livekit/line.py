"""Our connection to a LiveKit room, kept through a restart of the server."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from livekit import rtc
from loguru import logger

from fallbacks.retrying import Backoff
from transports.leg import Clock
from transports.livekit.room import (
    LEAD_MS,
    RATE_HZ,
    KeyArrived,
    Learn,
    LineError,
    News,
    Parted,
    PersonLeft,
    PersonSeen,
    RoomPlace,
    ServerBack,
    ServerLost,
    SoundOffered,
    TakenUp,
    join,
    leave,
    press,
    publish,
)
from transports.livekit.room_watch_rules import RoomWatch
from transports.livekit.words import (
    CLIENT_INITIATED,
    FOR_GOOD,
    SENT_AWAY,
    SipParty,
    has_hung_up,
    is_answered,
    party_of,
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
        left_for: LiveKit's code of why the caller left.
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
        self._room = await join(self.place, self.source, self._learn_of())

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

    def _learn_of(self) -> Learn:
        """Return a listener for the room being joined, valid as long as the room is ours."""
        self._joined += 1
        number = self._joined

        def learn(news: News) -> None:
            if number == self._joined and not self._closed:
                self._learn(news)
                self._settle()
                self._news.set()

        return learn

    def _learn(self, news: News) -> None:
        match news:
            case PersonSeen(identity) | PersonLeft(identity) | SoundOffered(identity):
                if self.party is None or identity == self.party.identity:
                    self._learn_of_caller(news)
            case KeyArrived(identity, key):
                if not identity or (self.party and identity == self.party.identity):
                    self.on_key(key)
            case _:
                self._learn_of_server(news)

    def _learn_of_caller(self, news: PersonSeen | PersonLeft | SoundOffered) -> None:
        match news:
            case PersonSeen(identity, attributes):
                self.party = self.party or party_of(identity, attributes)
                if has_hung_up(attributes):
                    self.left_for = self.left_for or CLIENT_INITIATED
                    self.watched.caller_left(self.clock(), for_good=True)
                    return
                self.watched.caller_came(self.clock())
                if is_answered(attributes):
                    self.answered.set()
            case PersonLeft(_, reason):
                self.left_for, self._taken_up = reason, False
                self.watched.caller_left(self.clock(), for_good=reason in FOR_GOOD)
            case SoundOffered(_, track):
                self.sound = track
                self.on_sound(track)

    def _learn_of_server(self, news: TakenUp | ServerLost | ServerBack | Parted) -> None:
        match news:
            case TakenUp(by_somebody):
                self._taken_up = by_somebody
                if by_somebody:  # the server may restart again during this call
                    self._offers = OFFERS
            case ServerLost():
                self.watched.line_lost(self.clock())
            case ServerBack():
                self.watched.line_restored(self.clock())
            case Parted(reason) if reason in SENT_AWAY:
                self.watched.line_ended()
            case Parted():
                self.watched.line_lost(self.clock())
                self._adrift, self._taken_up = True, False

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
            logger.info("{}: {}", self.place.room, refused)
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
