"""Randomness as a function of (seed, purpose, position): a resumed run repeats, a sample depends on its seed only."""

from hashlib import sha256

import numpy as np


def seed_for(seed: int, purpose: str, *position: int) -> int:
    """A 63-bit seed from SHA-256 of the seed, what it is for, and where in the run it is used."""
    text = "\x1f".join([str(seed), purpose.replace("\x1f", "\x1f\x1f"), *map(str, position)])
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_generator_for(seed: int, purpose: str, *position: int) -> np.random.Generator:
    """NumPy's PCG64 generator, seeded by `seed_for`."""
    return np.random.Generator(np.random.PCG64(seed_for(seed, purpose, *position)))
