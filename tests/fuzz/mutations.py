"""Damage to a whole file, drawn by a seed: what a broken upload, a bad disk or an attacker makes of it."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.fuzz.seeds import Seed

HEADER_BYTES = 128
MAX_FLIPS, MAX_INSERT_BYTES = 16, 2_000
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


@dataclass(frozen=True)
class Mutant:
    """A damaged file. `copies` is how many whole files were joined; 0 where that is not what was done."""

    name: str
    data: bytes
    seed: Seed
    is_cut: bool = False
    copies: int = 0


def mutant(seeds: tuple[Seed, ...], number: int) -> Mutant:
    """Return the mutant of this number: seeds take turns, the damage is drawn."""
    rng, seed = Random(number), seeds[number % len(seeds)]
    damage = rng.choice(DAMAGES)
    return damage(seed, rng)


def flip(seed: Seed, rng: Random) -> Mutant:
    """Flip bits anywhere."""
    data = bytearray(seed.data)
    for _ in range(rng.randint(1, MAX_FLIPS)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return Mutant(f"{seed.name}, bits flipped", bytes(data), seed)


def set_field(seed: Seed, rng: Random) -> Mutant:
    """Write an extreme number over a field of the header, in either byte order."""
    data, width = bytearray(seed.data), rng.choice((1, 2, 4, 8))
    start = rng.randrange(min(HEADER_BYTES, len(data) - width))
    value = rng.choice(EXTREMES) % 256**width
    data[start : start + width] = value.to_bytes(width, rng.choice(("little", "big")))
    return Mutant(f"{seed.name}, bytes {start} to {start + width} are {value:#x}", bytes(data), seed)


def cut(seed: Seed, rng: Random) -> Mutant:
    """Break the file off."""
    length = rng.randrange(len(seed.data))
    return Mutant(f"{seed.name}, cut at {length}", seed.data[:length], seed, is_cut=True)


def insert(seed: Seed, rng: Random) -> Mutant:
    """Put foreign bytes in between."""
    start = rng.randrange(len(seed.data))
    foreign = rng.randbytes(rng.randint(1, MAX_INSERT_BYTES))
    return Mutant(
        f"{seed.name}, {len(foreign)} bytes at {start}", seed.data[:start] + foreign + seed.data[start:], seed
    )


def splice(seed: Seed, rng: Random) -> Mutant:
    """Leave a part out."""
    start, end = sorted(rng.sample(range(len(seed.data) + 1), 2))
    return Mutant(f"{seed.name}, without {start} to {end}", seed.data[:start] + seed.data[end:], seed)


def repeat(seed: Seed, rng: Random) -> Mutant:
    """Write a part twice."""
    start, end = sorted(rng.sample(range(len(seed.data) + 1), 2))
    return Mutant(f"{seed.name}, {start} to {end} twice", seed.data[:end] + seed.data[start:], seed)


def join(seed: Seed, rng: Random) -> Mutant:
    """Join whole files."""
    copies = rng.randint(2, 3)
    return Mutant(f"{seed.name}, {copies} joined", seed.data * copies, seed, copies=copies)


DAMAGES: tuple[Callable[[Seed, Random], Mutant], ...] = (flip, set_field, cut, insert, splice, repeat, join)
