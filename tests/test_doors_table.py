"""The table of transports has a row for each behaviour that a transport names."""

from scripts.doors_table import BEHAVIOURS, find_transports


def test_every_transport_names_existing_behaviours() -> None:
    doors = find_transports()

    assert {"loopback", "local", "twilio", "webrtc"} <= {door.name for door in doors}
    for door in doors:
        assert {*door.cannot, *door.void, *door.unproven} <= {*BEHAVIOURS}
