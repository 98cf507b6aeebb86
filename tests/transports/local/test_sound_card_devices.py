"""Choice of microphone and loudspeaker, and the advice if there is none."""

import pytest

from transports.local.sound_card import (
    NoAudioError,
    SoundDevice,
    choose_device,
    describe_devices,
    no_device,
    no_portaudio,
)

FOUND = [
    {"name": "HDA Intel: ALC257", "max_input_channels": 2, "max_output_channels": 2},
    {"name": "USB Headset", "max_input_channels": 1, "max_output_channels": 2},
    {"name": "USB Headset Pro", "max_input_channels": 1, "max_output_channels": 2},
    {"name": "HDMI 0", "max_input_channels": 0, "max_output_channels": 8},
]
DEVICES = describe_devices(FOUND, (1, 0))


def test_the_default_devices_are_marked() -> None:
    assert [device.default_for for device in DEVICES] == [("output",), ("input",), (), ()]


@pytest.mark.parametrize(
    ("wanted", "number"),
    [(None, None), (2, 2), ("2", 2), ("alc257", 0), ("usb headset", 1), ("Pro", 2)],
)
def test_a_device_is_chosen_by_its_number_or_by_a_part_of_its_name(
    wanted: str | int | None, number: int | None
) -> None:
    assert choose_device(DEVICES, wanted, direction="input") == number


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("USB", "fits several; name one of 1 USB Headset, 2 USB Headset Pro"),
        ("HDMI", 'is "HDMI"; there is no such microphone: 0 HDA'),
        ("9", 'is "9"; there is no such microphone'),
    ],
    ids=["several", "deaf", "none"],
)
def test_a_wrong_choice_is_one_line_with_the_existing_devices(wanted: str, words: str) -> None:
    with pytest.raises(NoAudioError) as wrong:
        choose_device(DEVICES, wanted, direction="input")

    assert words in str(wrong.value)
    assert "\n" not in str(wrong.value)


def test_a_missing_device_is_reported() -> None:
    with pytest.raises(NoAudioError, match="no such loudspeaker: none at all"):
        choose_device([], "0", direction="output")


@pytest.mark.parametrize(
    ("platform", "portaudio", "device"),
    [
        ("linux", "libportaudio2", "libasound2-plugins"),
        ("darwin", "brew install portaudio", "System Settings"),
        ("win32", "wheel", "desktop apps"),
        ("freebsd14", "libportaudio2", "libasound2-plugins"),
    ],
)
def test_each_system_has_its_own_advice(platform: str, portaudio: str, device: str) -> None:
    assert portaudio in no_portaudio(platform)
    assert device in no_device("input", platform)


def test_a_device_that_cannot_record_is_no_microphone() -> None:
    assert not SoundDevice(number=3, name="HDMI", inputs=0, outputs=8).has("input")
