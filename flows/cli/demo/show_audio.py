"""The demonstration of generation: flows in Prefect speak digits, make sounds and remove noise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from flows.cli.demo.audio_clips import AudioClips

if TYPE_CHECKING:
    from flows.pipeline.generation.generate import TextTask
    from flows.pipeline.generation.request import AudioRequest
    from flows.pipeline.runtime.resources import Runtime

DIGITS, SOUNDS, PAIRS = "demo-digits", "demo-audio-sounds", "demo-pairs"
SPOKEN_TEXTS = ("2", "5", "8")
SOUND_TEXTS = ("bell", "dog bark", "siren")
SPEECH_SECONDS, SOUND_SECONDS, SLICE_SECONDS = 0.72, 0.96, 0.48
NEAREST = "Nearest: the text of the demonstration with the most similar tokens. Listen to judge the sound."
CODEC = "Codec: the clean recording, decoded from its own tokens."


def import_audio(runtime: Runtime, clips: AudioClips) -> None:
    """Import the three libraries."""
    from flows.pipeline.libraries.library import import_manifest

    import_manifest(runtime, DIGITS, str(clips.digits), "speech")
    import_manifest(runtime, SOUNDS, str(clips.sounds), "sound")
    import_manifest(runtime, PAIRS, str(clips.pairs), "denoise")


def show_audio(runtime: Runtime, clips: AudioClips) -> Iterator[str]:
    """Run the three flows, and yield lines about the result of each."""
    from flows.generation import denoise_clips, generate_sound, generate_speech
    from flows.pipeline.generation.request import AudioRequest

    speech = generate_speech(DIGITS, list(SPOKEN_TEXTS), duration=SPEECH_SECONDS)
    yield f"\ngenerate-speech by {DIGITS}\n{'text':<12}{'nearest':<12}audio"
    yield from _texts(runtime, "speech", AudioRequest(DIGITS, seconds=SPEECH_SECONDS), SPOKEN_TEXTS)
    sounds = generate_sound(SOUNDS, list(SOUND_TEXTS), duration=SOUND_SECONDS)
    yield f"\ngenerate-sound by {SOUNDS}\n{'text':<12}{'nearest':<12}audio"
    yield from _texts(runtime, "sound", AudioRequest(SOUNDS, seconds=SOUND_SECONDS), SOUND_TEXTS)
    yield NEAREST
    cleaned = denoise_clips(str(clips.noisy), PAIRS, slice_seconds=SLICE_SECONDS, method="in-context")
    yield f"\ndenoise-clips by {PAIRS}: mel distance to the clean recording, in dB"
    yield f"{'clip':<12}{'noisy':>8}{'answer':>8}{'codec':>8}   audio"
    yield from _clips(runtime, AudioRequest(PAIRS, seconds=SLICE_SECONDS), clips)
    yield CODEC
    yield f"\nPages to look at and listen to\n  {speech['page']}\n  {sounds['page']}\n  {cleaned['page']}"


def _texts(runtime: Runtime, task: TextTask, request: AudioRequest, texts: tuple[str, ...]) -> Iterator[str]:
    """Yield, for each text, the demonstrated text whose clip is most like the answer."""
    from core.in_context.baselines import similarities
    from flows.pipeline.generation.generate import TextQuestion, TextToAudio, as_clip

    generation = TextToAudio(runtime, task, request)
    demonstrations = [as_clip(example.answer.layers) for example in generation.examples]
    questions = [TextQuestion(text) for text in texts]
    codes = generation.codes(questions)
    for question, audio in generation.audio(questions).items():
        alike = similarities([as_clip(codes[question])], demonstrations)[0]
        nearest = generation.library.demonstrations[int(alike.argmax())].label_or_text
        yield f"{question.text:<12}{nearest:<12}{audio.uri}"


def _clips(runtime: Runtime, request: AudioRequest, clips: AudioClips) -> Iterator[str]:
    """Yield how far each noisy clip, its answer and the codec's own rendering are from the clean clip."""
    from core.audio.resampling import read_waveform
    from core.evaluation.metrics import mel_distance
    from flows.pipeline.generation.denoise import Denoising
    from flows.pipeline.storage.uris import canonical, file_path

    denoising, rate = Denoising(runtime, request), runtime.codec.config.sample_rate
    questions = denoising.questions(canonical(str(clips.noisy)))
    audio, codes = denoising.audio(questions.values()), denoising.codes(questions.values())
    for uri, question in questions.items():
        clean, _ = read_waveform(clips.clean / file_path(uri).name, rate)
        noisy, _ = read_waveform(file_path(uri), rate)
        answer = denoising.decode(codes[question], audio[question].seed)
        codec = runtime.codec.decode(runtime.codec.encode(clean))[0, 0]
        waveforms = [one.flatten()[: clean.numel()] for one in (noisy, answer, codec)]
        distances = "".join(f"{mel_distance(clean.flatten(), one, rate):>8.1f}" for one in waveforms)
        yield f"{file_path(uri).name:<12}{distances}   {audio[question].uri}"
