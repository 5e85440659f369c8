"""What the teachers said of all clips, in one file beside the bank, so that they need not be there."""

from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from core.errors import CheckpointMismatch
from core.training.codec.config import TeacherSource
from core.training.codec.teachers import Teacher
from core.training.data.clips import Bank
from core.training.teachers.feature_teacher import FeatureTeacher


def check_can_prepare(source: TeacherSource, manifest: str | None) -> None:
    """Raise ValueError for a training that needs more than clips and vectors of whole clips."""
    if source.t5 or manifest:
        raise ValueError(
            "t5 hears every crop, and a manifest's clips stay where they are: only a training from a bank, "
            "with other teachers than t5, can be prepared"
        )


def write_teacher(path: Path, teacher: Teacher, clips: Bank) -> None:
    """Write the vectors and frames of all clips; what the stand-in says of frames is fitted again."""
    tensors = {"text": teacher.text(range(len(clips))).contiguous()}
    if isinstance(teacher, FeatureTeacher) and teacher.heard is not None:
        sizes = torch.tensor([len(one) for one in teacher.heard])
        tensors |= {"frames": torch.cat(list(teacher.heard)).contiguous(), "sizes": sizes}
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, {"clips": clips.sha256})
    partial.replace(path)


def read_teacher(path: Path, stand_in: Teacher, clips: Bank, dim: int) -> FeatureTeacher:
    """Read it back. Raises CheckpointMismatch for other clips and for a latent of another width."""
    with safe_open(path, "torch") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        written = file.metadata()["clips"]
    text = tensors["text"]
    if written != clips.sha256 or text.shape[1] != dim:
        raise CheckpointMismatch(
            f"{path} is about the clips {written[:12]} in {text.shape[1]} dimensions, the training about "
            f"{clips.sha256[:12]} in {dim}: prepare again, or in another folder"
        )
    frames = torch.split(tensors["frames"], tensors["sizes"].tolist()) if "frames" in tensors else None
    return FeatureTeacher(stand_in, text, frames)
