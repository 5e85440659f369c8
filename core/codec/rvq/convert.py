"""Conversion of a codec's folder of transformers to our directory format."""

import json
from pathlib import Path

from safetensors.torch import load_file

from core.codec.files.checkpoint import write_directory
from core.codec.files.directory import CONFIG, WEIGHTS, check_words, directory_words, read_shape, read_words
from core.codec.rvq.config import RvqConfig
from core.codec.rvq.families import build, describe, family
from core.codec.rvq.model import RvqCodec
from core.errors import CheckpointMismatch

# isort: split
from transformers.utils.logging import disable_progress_bar


def convert_codec(source: Path, output: Path, *, layers: int | None, words: Path | None) -> RvqCodec:
    """Write the new directory `output` from a folder of transformers, and return the codec read back from it.

    Raises CheckpointMismatch when `output` exists, for another kind of model, for weights that are missing or
    do not fit, and for a list of words of another length than the first codebook.
    """
    if output.exists():
        raise CheckpointMismatch(f"{output} already exists: choose a new directory")
    if not (source / CONFIG).is_file():
        raise CheckpointMismatch(f"{source} has no {CONFIG}: give the folder of a codec of transformers")
    _, theirs = family(json.loads((source / CONFIG).read_text()).get("model_type"))
    disable_progress_bar()
    model, loading = theirs.from_pretrained(
        source, local_files_only=True, ignore_mismatched_sizes=True, output_loading_info=True
    )
    wrong = {kind: loading[kind] for kind in ("missing_keys", "mismatched_keys") if loading[kind]}
    if wrong:
        raise CheckpointMismatch(f"the weights in {source} do not fit its {CONFIG}: {wrong}")
    config = describe(model, layers)
    spelled = read_words(words) if words else ()
    check_words(spelled, config)
    tensors = {name: tensor.clone() for name, tensor in model.float().state_dict().items()}
    write_directory(output, config, tensors, spelled)
    return read_codec(output)


def read_codec(directory: Path) -> RvqCodec:
    """Load a converted directory. Raises CheckpointMismatch when its files do not fit together."""
    config = read_shape(directory)
    assert isinstance(config, RvqConfig)
    return build(config, load_file(directory / WEIGHTS), directory_words(directory))
