"""Multi-scale mel-spectrogram discriminators (paper, appendix B.3): six resolutions, one network each."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from core.audio.spectrogram import mel_filters, power

HIDDEN_WIDTHS = (64, 128, 256, 512, 512, 512)
HOPS = (32, 64, 128, 256, 512, 1024)
LEAKY_SLOPE = 0.2


class MelDiscriminator(nn.Module):
    """Discriminator of (B, 1, T) samples: returns a map of scores and its inner layers.

    The window is four hops long.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, sample_rate: int, hop: int, hidden: int) -> None:
        super().__init__()
        self.hop, self.n_fft = hop, 4 * hop
        self.register_buffer("window", torch.hann_window(self.n_fft), persistent=False)
        filters = mel_filters(sample_rate, self.n_fft, min(80, hop))
        self.register_buffer("filters", filters, persistent=False)
        widths = (1, hidden // 8, hidden // 4, hidden // 2, hidden)
        self.layers = nn.ModuleList(
            nn.utils.parametrizations.weight_norm(nn.Conv2d(i, o, (5, 3), stride=(2, 1), padding=(2, 1)))
            for i, o in pairwise(widths)
        )
        self.score = nn.utils.parametrizations.weight_norm(nn.Conv2d(hidden, 1, 3, padding=1))

    def forward(self, waveform: Tensor) -> tuple[Tensor, list[Tensor]]:
        h = self._log_mel(waveform).unsqueeze(1)
        features = []
        for layer in self.layers:
            h = nn.functional.leaky_relu(layer(h), LEAKY_SLOPE)
            features.append(h)
        return self.score(h).float(), features

    def _log_mel(self, waveform: Tensor) -> Tensor:
        samples = waveform[:, 0].float()
        spectrum = torch.stft(samples, self.n_fft, self.hop, window=self.window, return_complex=True)
        # the square root has no gradient at zero
        magnitude = (power(spectrum) + 1e-9).sqrt()
        return (self.filters @ magnitude + 1e-5).log()


class MelDiscriminators(nn.Module):
    """Discriminators at all scales: K maps of scores and K lists of inner layers for (B, 1, T) samples."""

    def __init__(self, sample_rate: int, hidden: Sequence[int] = HIDDEN_WIDTHS) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            MelDiscriminator(sample_rate, hop, width) for hop, width in zip(HOPS, hidden, strict=True)
        )

    def forward(self, waveform: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
        judged = [scale(waveform) for scale in self.scales]
        return [scores for scores, _ in judged], [features for _, features in judged]
