"""What clips of a review are compared by: the pooled latent, which every clip has.

On spoken digits of other speakers it chose better than latent and log-mel statistics side by side.
"""

from core.in_context.choosing.labelers import Representation
from core.in_context.choosing.library import LATENTS

REVIEWED_BY = Representation(LATENTS)
