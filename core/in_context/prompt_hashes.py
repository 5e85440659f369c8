"""Hashes of a labeler's prompt, computed without the model."""

import hashlib
import json
from collections.abc import Sequence

from core.in_context.baselines import NEAREST_TEMPERATURE
from core.in_context.latents import known_latent
from core.prompts.demonstrations import LabeledClip
from core.prompts.few_shot import FewShotPrompt


def nearest_neighbor_hash(demonstrations: Sequence[LabeledClip]) -> str:
    """Return the hex sha256 of everything that decides a nearest neighbor except the clip."""
    digest = hashlib.sha256(f"nearest {NEAREST_TEMPERATURE}\n".encode())
    for one in demonstrations:
        codes = [layer.tolist() for layer in one.codes.layers]
        digest.update(json.dumps([one.label, codes]).encode())
    return digest.hexdigest()


def nearest_shots_hash(whole: FewShotPrompt, library: Sequence[LabeledClip], shots: int) -> str:
    """Return the hex sha256 of all possible demonstrations and of their latents.

    Together with the query's own latent it identifies the query's prompt.
    """
    digest = hashlib.sha256(f"nearest {shots}\n{whole.prompt_hash}\n".encode())
    for clip in library:
        digest.update(known_latent(clip.codes).tobytes())
    return digest.hexdigest()
