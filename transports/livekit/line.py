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
    Handlers,
    LineError,
    RoomPlace,
    join,
    leave,
    may_be_caller,
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
    mask_number,
    party_of,
)

SUBSCRIBE_S: Final = 2.0  # how long the far end may take to subscribe; then we publish again
REPUBLICATIONS: Final = 2  # how many times our track is published again
REJOIN_PAUSE_S: Final = 2.0  # between two tries, at most, because the caller hears silence


class LivekitLine:
    """Our place in a room: who the far end is, and whether it hears our sound.

        line = LivekitLine(place, clock=clock.monotonic)
        await line.open()              # in the room, our track published: livekit-sip picks up
        await line.wait_for_caller()   # `line.party` identifies the caller
        reason = await line.watch()

    If the server is lost, the library tries for a while to reconnect. After that, we join again.

    Attributes:
        place: The room.
        clock: The time in seconds.
        source: Takes our sound.
        party: The caller; `None` until one is there.
        left_reason: LiveKit's code for why the caller left; 0 while the caller is there.
        sent_away: Whether the server removed us or closed the room.
        sound: The caller's current track.
        stay: Decides how long we stay in the room.
        usable: Set while our sound is heard; writers wait for it.
        answered: Set once the far end has answered.
        on_sound: Called with a new track of the caller.
        on_key: Called with a key of the caller.
        on_lost: Called when our sound is no longer heard.
        on_restored: Called when it is heard again, with the seconds in between.
        on_refused: Called with the reason when we refuse a track, or the room has too many events.
    """

    def __init__(self, place: RoomPlace, *, clock: Clock) -> None:
        """Create our sound's source, and callbacks that do nothing; `open` joins the room."""
        self.place = place
        self.clock = clock
        self.source = rtc.AudioSource(RATE_HZ, 1, queue_size_ms=LEAD_MS)
        self.party: SipParty | None = None
        self.left_reason = 0
        self.sent_away = False
        self.sound: rtc.Track | None = None
        self.usable, self.answered = asyncio.Event(), asyncio.Event()
        self.on_sound: Callable[[rtc.Track], None] = lambda _: None
        self.on_key: Callable[[str], None] = lambda _: None
        self.on_lost: Callable[[], None] = lambda: None
        self.on_restored: Callable[[float], None] = lambda _: None
        self.on_refused: Callable[[str], None] = lambda _: None
        self._refusals: set[str] = set()
        self._publication: rtc.RemoteTrackPublication | None = None
        self._room: rtc.Room | None = None
        self.stay = RoomWatch(clock())
        self._changed = asyncio.Event()
        self._closed = self._disconnected = self._subscribed = self._given_up = False
        self._join_count, self._republications_left = 0, REPUBLICATIONS
        self._lost_at: float | None = None

    async def open(self) -> None:
        """Join the room and publish our sound.

        Raises:
            LineError: The server refuses us or cannot be reached.
        """
        self._disconnected = self._subscribed = False
        self._room = await join(
            self.place, self.source, self._handlers_for_join(), self._end_flooded
        )

    async def wait_for_caller(self) -> bool:
        """Wait for the caller; return False if the stay ends first, or `give_up` is called."""
        while self.party is None and not (self.stay.over or self._given_up):
            await self._wait_for_change()
        return self.party is not None

    def give_up(self) -> None:
        """Stop the wait for the caller, also a later one; no effect if the caller has come."""
        self._given_up = True
        self._changed.set()

    async def watch(self) -> str:
        """Keep the line connected until its end; return the reason, as in `RoomWatch.over`.

        If the server is lost, this joins the room again. If the far end does not subscribe to our
        track, this publishes it again. `close` ends it as well.
        """
        backoff = Backoff()
        while not self.stay.over:
            if self._disconnected:
                backoff.down(self.clock())
                await asyncio.sleep(min(backoff.next_s(), REJOIN_PAUSE_S))
                if not self._closed:
                    await self._join_again()
                if not self._disconnected:
                    backoff.up(self.clock())
            elif self._is_unheard:
                await self._publish_again()
            else:
                await self._wait_for_change()
            self.stay.tick(self.clock())
        return self.stay.over

    async def press(self, key: str, *, code: int) -> None:
        """Send a key to the far end.

        Raises:
            LineError: The server did not accept it.
        """
        if self._room is not None:
            await press(self._room, key, code=code)

    def hush(self) -> None:
        """Drop pending sound; no effect if we have left the room."""
        if not self._closed:
            self.source.clear_queue()

    async def close(self) -> None:
        """Leave the room, which ends `watch`; no effect if we have left it.

        The line cannot be opened again, because its source is closed.
        """
        if self._closed:
            return
        self._closed = True
        self.stay.line_ended()  # ends `watch`
        self._changed.set()
        if self._room is not None:
            await leave(self._room)
        await self.source.aclose()

    @property
    def _is_unheard(self) -> bool:
        """Whether the caller is there and we are connected, but the far end does not hear us."""
        return self.stay.up and self.stay.caller_here and not self._subscribed

    def _handlers_for_join(self) -> Handlers:
        """Return handlers for the room being joined; after a rejoin or `close` they do nothing."""
        self._join_count += 1
        join_number = self._join_count

        def while_joined(note: Callable[..., None]) -> Callable[..., None]:
            def handle(*details: Any) -> None:
                """Act on an event of the current join; ignore all others, and any after the end."""
                if join_number == self._join_count and not self._closed:
                    note(*details)
                    self._update_usable()
                    self._changed.set()

            return handle

        return {
            "participant_connected": while_joined(self._note_participant),
            "participant_attributes_changed": while_joined(
                lambda _, participant: self._note_participant(participant)
            ),
            "participant_disconnected": while_joined(self._note_participant_left),
            "track_subscribed": while_joined(self._note_track),
            "sip_dtmf_received": while_joined(self._note_key),
            "local_track_subscribed": while_joined(lambda _: self._note_subscription()),
            "local_track_republished": while_joined(lambda *_: self._note_subscription(lost=True)),
            "reconnecting": while_joined(lambda: self.stay.line_lost(self.clock())),
            "reconnected": while_joined(lambda: self.stay.line_restored(self.clock())),
            "disconnected": while_joined(self._note_disconnected),
        }

    def _note_participant(self, participant: rtc.Participant) -> None:
        """Record that a participant is in the room, or that its call status changed.

        The first participant who may be a caller becomes `party`; all others are ignored. A caller
        whose status is "hangup" counts as gone, although the participant may stay in the room for a
        while.
        """
        if not may_be_caller(participant) or self._is_someone_else(participant):
            return
        self.party = self.party or party_of(participant.identity, participant.attributes)
        if has_hung_up(participant.attributes):
            # LiveKit gives its own reason only when the participant leaves the room.
            self.left_reason = self.left_reason or CLIENT_INITIATED
            self.stay.caller_left(self.clock(), over=CALLER_HUNG_UP)
            return
        self.left_reason = 0
        self.stay.caller_came(self.clock())
        if is_answered(participant.attributes):
            self.answered.set()

    def _note_participant_left(self, participant: rtc.RemoteParticipant) -> None:
        """Record that the caller left the room; the call ends unless the caller may return."""
        if may_be_caller(participant) and not self._is_someone_else(participant):
            self.left_reason, self._subscribed = int(participant.disconnect_reason or 0), False
            over = end_of(self.left_reason, participant.attributes)
            self.stay.caller_left(self.clock(), over=over)

    def _note_track(
        self,
        track: rtc.Track,
        publication: rtc.RemoteTrackPublication,
        participant: rtc.RemoteParticipant,
    ) -> None:
        """Use the caller's newest audio track, and unsubscribe from all other tracks."""
        audio = track.kind == rtc.TrackKind.KIND_AUDIO
        if not (audio and may_be_caller(participant) and not self._is_someone_else(participant)):
            self._unsubscribe_and_report(publication, "unwanted_track")
            return
        old, self._publication = self._publication, publication
        if old and old.sid != publication.sid and old.sid in participant.track_publications:
            self._unsubscribe_and_report(old, "second_track")
        self.sound = track
        self.on_sound(track)

    def _unsubscribe_and_report(self, publication: rtc.RemoteTrackPublication, reason: str) -> None:
        """Unsubscribe from a track that nothing reads; report each reason once."""
        publication.set_subscribed(False)
        if reason not in self._refusals:
            self._refusals.add(reason)
            self.on_refused(reason)

    def _end_flooded(self) -> None:
        """End the line because its room has more events than any call."""
        self.on_refused("room_events_too_fast")
        self.stay.line_ended()
        self._changed.set()

    def _note_key(self, key: rtc.SipDTMF) -> None:
        """Report a key of the caller, or of a participant whom the server does not name."""
        if key.participant is None or (
            self.party and key.participant.identity in ("", self.party.identity)
        ):
            self.on_key(key.digit)

    def _note_subscription(self, *, lost: bool = False) -> None:
        """Record that the far end subscribed to our track, or must do so again."""
        self._subscribed = not lost
        if self._subscribed:  # the server may restart once more during this call
            self._republications_left = REPUBLICATIONS

    def _note_disconnected(self, reason: int) -> None:
        """Record the end of the connection; the library does not try to reconnect any more.

        `watch` joins again, unless the server has sent us away: then the line ends.
        """
        if int(reason) in SENT_AWAY:
            self.sent_away = True
            self.stay.line_ended()
            return
        self.stay.line_lost(self.clock())
        self._disconnected, self._subscribed = True, False

    def _is_someone_else(self, participant: rtc.Participant) -> bool:
        """Return whether the caller is known, and this participant is someone else."""
        return self.party is not None and participant.identity != self.party.identity

    def _update_usable(self) -> None:
        """Let writers continue or make them wait; report a lost or restored line, once each.

        Before the line is usable for the first time, nothing counts as lost.
        """
        if not (self.stay.up and self.stay.caller_here and self._subscribed):
            if self.usable.is_set() and self._lost_at is None:
                self._lost_at = self.clock()
                self.on_lost()
            self.usable.clear()
            return
        self.usable.set()
        if self._lost_at is not None:
            self.on_restored(self.clock() - self._lost_at)
            self._lost_at = None

    async def _wait_for_change(self) -> None:
        """Wait for the next event or time limit, and apply the limit."""
        self._changed.clear()
        wake_at = self.stay.wake_at
        left_s = None if wake_at is None else max(0.0, wake_at - self.clock())
        with suppress(TimeoutError):
            async with asyncio.timeout(left_s):
                await self._changed.wait()
        self.stay.tick(self.clock())

    async def _join_again(self) -> None:
        """Join the room once more; after an error, `watch` tries again."""
        try:
            await self.open()
        except LineError as error:
            self._disconnected = True
            logger.info("{}: {}", mask_number(self.place.room), error)
            return
        self.stay.line_restored(self.clock())
        self._update_usable()

    async def _publish_again(self) -> None:
        """Wait for the far end to subscribe; if it does not do so in time, publish our track again.

        After the last try, the far end is assumed to hear us: some do not report a subscription.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(SUBSCRIBE_S):
                while self._is_unheard and not self.stay.over:
                    await self._wait_for_change()
        if not self._is_unheard or self._room is None:
            return
        if self._republications_left:
            with suppress(LineError):
                await publish(self._room, self.source)
                self._republications_left -= 1  # not after a refusal, which is the server's
        else:
            self._subscribed = True
            self._update_usable()
