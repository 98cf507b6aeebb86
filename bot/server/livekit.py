"""LiveKit's routes and its transfers to people; loaded only if enabled, because it takes 28 MB."""

import asyncio

from fastapi import APIRouter
from pydantic import SecretStr

from bot.call.call import watch_leg
from bot.call.waiting_answers import waiting_answers
from bot.workers.process import Process
from configuration.settings import LivekitSettings
from transports.livekit.leg import LivekitLeg
from transports.livekit.people import LivekitPeople
from transports.livekit.rooms import LivekitRooms
from transports.livekit.routes import WEBHOOK_PATH, RoomAnswerer, WebhookReader
from transports.parked import Parked
from transports.pool import CallPool


def livekit_router(
    process: Process, tasks: asyncio.TaskGroup, pool: CallPool, settings: LivekitSettings
) -> APIRouter:
    """Return LiveKit's routes, and let transfers call people; calls and polling run in `tasks`.

    Raises:
        ValueError: The settings have no key or no secret.
    """
    key, secret = settings.api_key, settings.api_secret
    if key is None or secret is None:
        raise ValueError("a valid configuration does not enable LiveKit without its key")
    rooms = LivekitRooms(url=settings.url, api_key=key, api_secret=secret, server_id=pool.id)
    # Closed last: calls on any transport may be transferred through LiveKit.
    process.at_end.push_async_callback(rooms.close)
    people = _make_people(process, tasks, rooms, settings, key=key, secret=secret)
    process.shared.people.add("livekit", people)

    async def converse(leg: LivekitLeg) -> None:
        """Run a call on a leg, watch its room, and wait for a caller who may return."""
        call = process.call(leg)
        watch = tasks.create_task(watch_leg(leg, call), name="watch the room")
        try:
            await process.switchboard.answer(leg, call)
        finally:
            watch.cancel()
            process.switchboard.await_return(call, tasks)

    answerer = RoomAnswerer(
        rooms=rooms,
        reader=WebhookReader(api_key=key, api_secret=secret),
        tasks=tasks,
        pool=pool,
        emit=process.switchboard.emit,
        has_brief=process.shared.briefs.load,
        converse=converse,
        prefix=settings.room_prefix,
        parked=Parked(pool, "livekit"),
        waiting=waiting_answers(process.shared),
    )
    return _poll_and_route(process, tasks, answerer)


def _make_people(
    process: Process,
    tasks: asyncio.TaskGroup,
    rooms: LivekitRooms,
    settings: LivekitSettings,
    *,
    key: SecretStr,
    secret: SecretStr,
) -> LivekitPeople:
    """Return what calls people through LiveKit, from the trunk's first number if it has one."""
    numbers = settings.sip.all_numbers
    return LivekitPeople(
        rooms=rooms,
        api_key=key,
        api_secret=secret,
        trunk=settings.sip.name,
        our_number=numbers[0] if numbers else "holdline",
        tasks=tasks,
        emit=process.switchboard.emit,
    )


def _poll_and_route(
    process: Process, tasks: asyncio.TaskGroup, answerer: RoomAnswerer
) -> APIRouter:
    """Return the webhook's route, and poll for rooms until the switchboard closes."""
    looking = tasks.create_task(answerer.poll(), name="look for rooms")

    def stop_looking() -> None:
        looking.cancel()
        answerer.give_up()

    process.switchboard.on_closing(stop_looking)
    router = APIRouter()
    router.add_api_route(WEBHOOK_PATH, answerer.webhook, methods=["POST"])
    return router
