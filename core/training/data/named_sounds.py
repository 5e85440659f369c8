"""A few recognizable sounds with fixed parameters, for the demo."""

from collections.abc import Mapping

from core.training.data.sounds import Layer, Rhythm, SoundClass

_SIREN = Layer(
    "siren",
    {"low": 620, "interval": 2.1, "rate": 0.9, "rise": 0.5, "hardness": 0.6, "tilt": 1.4},
    Rhythm(attack=0.05),
)

_BELL = Layer(
    "modal",
    {
        "pitch": 520,
        "ratio1": 2.0,
        "ratio2": 1.19,
        "ratio3": 1.26,
        "ratio4": 1.33,
        "decay": 0.9,
        "damping": 0.5,
        "stroke": 0.3,
    },
    Rhythm(event=1.6, period=1.3, irregularity=0.05, attack=0.002, release=0.3),
)

_DROPS = Layer("crackle", {"rate": 320, "spread": 1.1, "center": 4200, "decay": 0.001}, Rhythm(attack=0.2))
_DRIZZLE = Layer(
    "steady_noise", {"slope": -0.1, "peak": 2.0, "center": 5000, "width": 0.6}, Rhythm(attack=0.2), gain=0.6
)

_BARKING = Rhythm(event=0.16, period=0.34, group=2, pause=0.45, irregularity=0.1, attack=0.012, release=0.08)
_BARK = Layer(
    "voice",
    {"pitch": 420, "glide": 0.6, "formant1": 750, "formant2": 1400, "formant3": 2900, "breath": 0.35},
    _BARKING,
)

_KNOCK = Layer(
    "modal",
    {
        "pitch": 170,
        "ratio1": 1.6,
        "ratio2": 1.4,
        "ratio3": 1.5,
        "ratio4": 1.3,
        "decay": 0.03,
        "damping": 0.3,
        "stroke": 0.8,
    },
    Rhythm(event=0.12, period=0.19, group=3, pause=0.55, irregularity=0.06, attack=0.002, release=0.05),
)

_TELEPHONE = Layer(
    "siren",
    {"low": 1050, "interval": 1.3, "rate": 20, "rise": 0.5, "hardness": 10, "tilt": 1.2},
    Rhythm(event=0.7, period=1.1, irregularity=0.02, attack=0.01, release=0.05),
)

_CHIRP = Layer(
    "chirp",
    {"start": 3100, "end": 5200, "curve": 0.8, "back": 0.7, "tilt": 2.5},
    Rhythm(event=0.09, period=0.13, group=4, pause=0.4, irregularity=0.1, attack=0.02, release=0.03),
)

_PISTONS = Layer(
    "harmonic",
    {
        "pitch": 58,
        "partials": 20,
        "tilt": 0.7,
        "even": 0.8,
        "vibrato": 0.008,
        "vibrato_rate": 4,
        "glide": 0.05,
    },
    Rhythm(attack=0.1),
)
_EXHAUST = Layer(
    "pulsed_noise",
    {"center": 300, "width": 0.9, "rate": 29, "depth": 0.8, "sharpness": 2},
    Rhythm(attack=0.1),
    gain=0.5,
)

_SNR_DB = (20.0, 50.0)
"""They are recognizable with more noise too, but a demonstration should not be about noise."""

NAMED_SOUNDS: Mapping[str, SoundClass] = {
    sound.name: sound
    for sound in (
        SoundClass("siren", (_SIREN,), 0.08, _SNR_DB),
        SoundClass("bell", (_BELL,), 0.04, _SNR_DB),
        SoundClass("rain", (_DROPS, _DRIZZLE), 0.12, _SNR_DB),
        SoundClass("dog bark", (_BARK,), 0.08, _SNR_DB),
        SoundClass("knock", (_KNOCK,), 0.08, _SNR_DB),
        SoundClass("telephone", (_TELEPHONE,), 0.06, _SNR_DB),
        SoundClass("bird", (_CHIRP,), 0.1, _SNR_DB),
        SoundClass("engine", (_PISTONS, _EXHAUST), 0.08, _SNR_DB),
    )
}
"""By label."""
