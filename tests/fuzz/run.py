"""`python -m tests.fuzz.run --files 10000 --seed 1`: decode mutants of every container and coding.

Prints each broken promise and a summary; the exit status is 1 where one is broken.
"""

import argparse
import sys

from tqdm import tqdm

from core.decoding.child_process.decoder import ClipDecoder
from tests.fuzz.judge import LIMITS, Judge, Tally
from tests.fuzz.mutations import mutant
from tests.fuzz.seeds import seeds

FILES_PER_SEED = 10_000_000
MOST_LINES = 50


def fuzz(files: int, seed: int) -> Tally:
    """Return what came of this many mutants of a seed."""
    tally = Tally()
    with ClipDecoder(LIMITS) as decoder:
        judge = Judge(decoder, tally)
        for number in tqdm(range(files), disable=None, leave=False):
            judge.judge(mutant(seeds(), seed * FILES_PER_SEED + number))
    return tally


def main() -> int:
    """Fuzz, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    tally = fuzz(arguments.files, arguments.seed)
    print("\n".join([*tally.broken[:MOST_LINES], tally.summary()]))
    return 1 if tally.broken else 0


if __name__ == "__main__":
    sys.exit(main())
