"""What a denoiser is, and how a clip of any rate passes through one."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from core.decoding.audio_stream import Samples


class Denoiser(Protocol):
    """Takes the noise out of mono audio.

    Equal samples give equal answers, however they are cut into blocks and whatever was denoised before.
    `sample_rate` is in Hz, None for one that works at any rate.
    """

    @property
    def name(self) -> str:
        """The name of the method in rows, commands and pages."""
        ...

    @property
    def sample_rate(self) -> int | None:
        """The rate of the samples that it takes and gives."""
        ...

    @property
    def license(self) -> str:
        """The license of what runs."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hex sha256 over all that decides an answer."""
        ...

    def denoise(self, blocks: Iterable[Samples]) -> Iterator[Samples]:
        """Yield as many samples as come, each at its place, in bounded memory."""
        ...


class Unchanged:
    """Leaves every clip as it is: the answer where no method is better than the noisy clip."""

    name = "unchanged"
    sample_rate = None
    license = ""
    fingerprint = "unchanged"

    def denoise(self, blocks: Iterable[Samples]) -> Iterator[Samples]:
        """Yield the samples."""
        yield from blocks


def denoise_at(denoiser: Denoiser, blocks: Iterable[Samples], sample_rate: int) -> Iterator[Samples]:
    """Yield as many samples as come, at their own rate, so that no band of the clip is lost.

    What is above half the denoiser's own rate is. Raises AudioRejected(bad_rate) for a rate that cannot be
    resampled to the denoiser's and back.
    """
    from core.audio.resampling import resample_blocks  # imports torch, which the rest need not wait for

    rate = denoiser.sample_rate or sample_rate
    counted = _Counted(blocks)
    denoised = denoiser.denoise(resample_blocks(counted, sample_rate, rate))
    given = 0
    for block in resample_blocks(denoised, rate, sample_rate):
        # each way rounds up, so a few more samples may come than went in
        kept = block[: counted.samples - given]
        given += len(kept)
        yield kept


class _Counted:
    """Blocks, and how many samples have been taken of them."""

    def __init__(self, blocks: Iterable[Samples]) -> None:
        self._blocks = blocks
        self.samples = 0

    def __iter__(self) -> Iterator[Samples]:
        for block in self._blocks:
            self.samples += len(block)
            yield block
