"""generate-speech: texts to speech, as the clips of a library show."""

from prefect.runtime import flow_run

from flows.artifacts.pages import publish_audio
from flows.batches import batch_threads, in_tasks
from flows.flow_runs.end import completed_with
from flows.flow_runs.form_flow import flow
from flows.flow_runs.options import explained
from flows.forms import AudioFormat, Duration, LibraryName, Repeats, Seed, Temperature, Texts, TextsUri, TopP
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.generation.generate import AudioRequest
from flows.pipeline.generation.job import run_texts
from flows.pipeline.generation.texts import asked_texts
from flows.pipeline.runtime.runtime import shared_runtime


@flow(
    name="generate-speech",
    **explained("say texts by {library}"),
    description="Say texts by a frozen LLM that sees a library's clips; done work is skipped.",
    task_runner=batch_threads(),
)
def generate_speech(
    library: LibraryName,
    texts: Texts = [],  # noqa: B006  a form's empty list
    texts_uri: TextsUri = "",
    duration: Duration = 0.72,
    format: AudioFormat = "wav",
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    seed: Seed = 0,
    repeats: Repeats = 0,
) -> dict[str, str | int | None]:
    """One object and one row for each text; the same request does nothing a second time."""
    runtime = shared_runtime(Settings())
    request = AudioRequest(library, duration, repeats, temperature, top_p, seed, format)
    asked = asked_texts(runtime, texts, texts_uri)
    done = run_texts(runtime, "speech", request, asked, in_tasks, flow_run_id=flow_run.id)
    publish_audio("generate-speech", texts_uri or f"texts by {library}", done)
    outcome = {"run": str(done.run.id), "page": done.run.manifest, **done.run.counts}
    return completed_with(outcome, done.run.counts)
