"""The updates of an LLM-Codec in training, the mini one or the released shape (paper, section 3.2).

Training begins without quantization; then the projections are matched to the latents, and everything trains
on. A codec that starts trained has its projections already; its teacher is turned to its axes instead. The
random draws of a step depend on the seed and the step alone, so a training resumed from a checkpoint equals,
bit for bit, one that was never stopped.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from core.codec import LLMCodec
from core.codec.mel import MelDecoder
from core.training.checkpointing import load_checkpoint, save_checkpoint
from core.training.codec.config import SPECTRUM_LOSSES, WAVEFORM_LOSSES, TrainingConfig
from core.training.codec.discriminator import MelDiscriminators
from core.training.codec.losses import (
    SpectrumLosses,
    WaveformLosses,
    adversarial_loss,
    consistency_loss,
    discriminator_loss,
    feature_loss,
    semantic_loss,
)
from core.training.codec.progress import CodebookUsage
from core.training.codec.quantizer import TrainableQuantizer
from core.training.codec.teachers import Teacher
from core.training.codec.turned_teacher import TurnedTeacher, turn
from core.training.data.clips import Clips, Drawn, augment, draw_crops

RISE_STEPS = 50
"""Steps over which the learning rate rises from 0."""
MIN_RATE_SHARE = 0.01
"""Share of the learning rate at the end of the cosine schedule."""
MATCH_BATCHES = 16
TURN_BATCHES = 64

Losses = dict[str, Tensor]


class CodecNetworks(nn.Module):
    """Encoder, quantizer and decoder; the state has the released names."""

    def __init__(self, config: TrainingConfig, codebooks: list[Tensor]) -> None:
        super().__init__()
        codec = LLMCodec(config.codec)
        self.encoder = codec.encoder.requires_grad_(True)
        self.decoder = codec.decoder.requires_grad_(True)
        self.quantizer = TrainableQuantizer(config.codec, codebooks, update=config.codebooks.update)


class CodecTrainer:
    """One training. `step` counts finished updates; `train_step` makes the next one."""

    def __init__(
        self,
        config: TrainingConfig,
        codebooks: list[Tensor],
        clips: Clips,
        teacher: Teacher,
        device: str = "cpu",
    ) -> None:
        self.config, self.clips, self.teacher, self.device = config, clips, teacher, device
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            self.networks = CodecNetworks(config, codebooks).to(device)
            self.discriminators = MelDiscriminators(config.codec.sample_rate, config.discriminator_widths).to(
                device
            )
        self.optimizer = self._optimizer(self.networks)
        self.discriminator_optimizer = self._optimizer(self.discriminators)
        self._waveform_losses = WaveformLosses().to(device)
        decoder = self.networks.decoder
        self._spectrum_losses = (
            SpectrumLosses(config.codec.sample_rate, decoder.n_fft).to(device)
            if isinstance(decoder, MelDecoder)
            else None
        )
        self.usage = CodebookUsage(config.codec.codebook_sizes)
        self.step = 0

    def _optimizer(self, module: nn.Module) -> torch.optim.AdamW:
        learned = [p for p in module.parameters() if p.requires_grad]
        config = self.config
        return torch.optim.AdamW(
            learned, config.learning_rate, config.betas, weight_decay=config.weight_decay
        )

    def train_step(self) -> dict[str, float]:
        """Make one update; return the mean of each loss over its parts."""
        self._set_rates()
        if self.step == self.config.warmup_steps and not self.config.start_from:
            self.networks.quantizer.match_moments(self._latents())
        self.optimizer.zero_grad()
        self.discriminator_optimizer.zero_grad()
        parts = [self._train_part(part) for part in range(self.config.accumulate)]
        nn.utils.clip_grad_norm_(self.networks.parameters(), self.config.clip_norm)
        self.optimizer.step()
        # leaves all as it is when nothing was judged: there are no gradients then
        self.discriminator_optimizer.step()
        self.step += 1
        return {name: sum(float(losses[name].detach()) for losses in parts) / len(parts) for name in parts[0]}

    def _set_rates(self) -> None:
        rate = self.config.learning_rate * learning_rate_share(self.config, self.step)
        for optimizer in (self.optimizer, self.discriminator_optimizer):
            for group in optimizer.param_groups:
                group["lr"] = rate

    @torch.no_grad()
    def turn_teacher(self) -> None:
        """Turn the teacher's vectors to the axes in which the codec says the same already."""
        pairs = [self._said_and_taught(128 + part) for part in range(TURN_BATCHES)]
        said_text, text, said_frames, frames = (torch.cat(rows) for rows in zip(*pairs, strict=True))
        self.teacher = TurnedTeacher(self.teacher, turn(text, said_text), turn(frames, said_frames))

    def _said_and_taught(self, part: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return rows (M, D) of the first layer and of its teacher, then of the second layer and of its."""
        crops, drawn = self._draw(part)
        layers = self.networks.quantizer(self.networks.encoder(crops)).layers
        frames = functional.interpolate(self.teacher.frames(crops, drawn), layers[1].shape[-1])
        said, taught = (rows.transpose(1, 2).flatten(0, 1).cpu() for rows in (layers[1], frames))
        return layers[0].mean(-1).cpu(), self.teacher.text(drawn.clips), said, taught

    @torch.no_grad()
    def _latents(self) -> Tensor:
        """Return (B, D, T) latents of crops that are not trained on at this step."""
        latents = [self.networks.encoder(self._draw(128 + part)[0]) for part in range(MATCH_BATCHES)]
        return torch.cat(latents)

    def _train_part(self, part: int) -> Losses:
        crops, drawn = self._draw(part)
        quantized = None
        half = self.config.precision == "bfloat16"
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=half):
            z = self.networks.encoder(crops)
            if self.step >= self.config.warmup_steps:
                quantized = self.networks.quantizer(z)
            losses = self._reconstruction(quantized.z_q if quantized else z, crops, part)
        if quantized:
            self.usage.update(quantized.codes)
            losses |= {"commitment": quantized.commitment, "codebook": quantized.codebook}
        # before there are layers, the whole latent learns the target of the semantic one
        layers = quantized.layers if quantized else [z]
        losses |= self._teaching([layer.float() for layer in layers], crops, drawn)
        weighted = [
            self.config.weights[name] * loss for name, loss in losses.items() if name in self.config.weights
        ]
        torch.autograd.backward(torch.stack(weighted).sum() / self.config.accumulate)
        return losses

    def _draw(self, part: int) -> tuple[Tensor, Drawn]:
        """Draw crops that depend on seed, step and part alone, and return where they are from, too."""
        generator = torch.Generator().manual_seed(self._seed(part))
        crops, drawn = draw_crops(self.clips, generator, self.config.batch, self.config.crop_length)
        if self.config.augment:
            crops, speeds = augment(crops, generator)
            drawn = replace(drawn, speeds=speeds)
        return crops.to(self.device), drawn

    def _seed(self, part: int) -> int:
        return (self.config.seed << 40) + (self.step << 8) + part

    def _reconstruction(self, z_q: Tensor, crops: Tensor, part: int) -> Losses:
        losses: Losses = {}
        decoder: Any = self.networks.decoder
        if self._spectrum_losses and self.config.weighs(SPECTRUM_LOSSES):
            losses |= self._spectrum_losses(decoder.log_magnitude(z_q).float(), decoder.log_spectrum(crops))
        if self.config.weighs(WAVEFORM_LOSSES):
            generators = [
                torch.Generator().manual_seed((self._seed(part) << 8) + row) for row in range(len(crops))
            ]
            decoded = decoder(z_q, generators).float()
            losses |= self._waveform_losses(decoded, crops)
            losses |= self._judge(decoded, crops) if self.config.weighs(("adversarial", "feature")) else {}
        return losses

    def _judge(self, decoded: Tensor, crops: Tensor) -> Losses:
        """Compute the discriminators' gradients, and return the generator's losses."""
        real_scores, real_features = self.discriminators(crops)
        fake_scores, _ = self.discriminators(decoded.detach())
        judged = discriminator_loss(real_scores, fake_scores, self.config.gan)
        torch.autograd.backward(judged / self.config.accumulate)
        self.discriminators.requires_grad_(False)
        scores, features = self.discriminators(decoded)
        self.discriminators.requires_grad_(True)
        return {
            "adversarial": adversarial_loss(scores, self.config.gan),
            "feature": feature_loss(real_features, features),
            "discriminator": judged.detach(),
        }

    def _teaching(self, layers: list[Tensor], crops: Tensor, drawn: Drawn) -> Losses:
        losses: Losses = {}
        if self.config.weighs(("semantic",)):
            text = self.teacher.text(drawn.clips).to(self.device)
            losses["semantic"] = semantic_loss(layers[0], text, self.config.distance)
        if self.config.weighs(("consistency",)) and len(layers) > 1:
            frames = self.teacher.frames(crops, drawn)
            losses["consistency"] = consistency_loss(layers[1], frames, self.config.distance)
        return losses

    @torch.no_grad()
    def reconstruct(self, count: int) -> tuple[Tensor, Tensor]:
        """Return the first crops of the training and their decoded codes, both (count, 1, T)."""
        generator = torch.Generator().manual_seed(self.config.seed)
        crops, _ = draw_crops(self.clips, generator, count, self.config.crop_length)
        z = self.networks.encoder(crops.to(self.device))
        z_q = self.networks.quantizer(z).z_q if self.step > self.config.warmup_steps else z
        generators = [torch.Generator().manual_seed(row) for row in range(count)]
        return crops, self.networks.decoder(z_q, generators).cpu()

    def save(self, path: Path) -> None:
        """Write everything that the next step depends on."""
        save_checkpoint(path, self._parts(), usage=self.usage.counts, step=self.step)

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint of the same configuration, if there is one."""
        if path.exists():
            state = load_checkpoint(path, self._parts(), self.device)
            self.usage.counts = [counts.cpu() for counts in state["usage"]]
            self.step = state["step"]

    def _parts(self) -> dict[str, Any]:
        return {
            "networks": self.networks,
            "discriminators": self.discriminators,
            "optimizer": self.optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
        }


def learning_rate_share(config: TrainingConfig, step: int) -> float:
    """Return the share of the full learning rate at a step: a rise, then the schedule."""
    rise = min(1.0, (step + 1) / RISE_STEPS)
    if config.schedule == "exponential":
        return rise * config.decay**step
    fall = 0.5 * (1 + math.cos(math.pi * step / (config.cosine_steps or config.steps)))
    cooldown = min(1.0, (config.steps - step) / max(1, config.cooldown_steps))
    return rise * cooldown * (MIN_RATE_SHARE + (1 - MIN_RATE_SHARE) * fall)
