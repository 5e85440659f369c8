"""The log-mel statistics as a model that a database can name: its numbers and fingerprint, without torch."""

import hashlib

from core.codec.config import MEL_BANDS, N_FFT

LOG_MEL = "log-mel"
SAMPLE_RATE = 16_000
HOP_LENGTH = 240
DIMENSIONS = 3 * MEL_BANDS
FINGERPRINT = hashlib.sha256(
    f"{LOG_MEL} 1 {SAMPLE_RATE} {HOP_LENGTH} {N_FFT} {MEL_BANDS}".encode()
).hexdigest()
"""Name of these statistics in every row that came of them."""
