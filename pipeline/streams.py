"""Named random streams: every draw in the project comes from a stream named after what it is for.

A stream's seed depends on its names alone, so results do not depend on the order in which cells run,
on how many run side by side, or on what else a process has drawn.
"""

import hashlib

import numpy as np


def stream_seed(base: int, *names: object) -> int:
    """A 63-bit seed for the stream called ``names`` under the profile's ``base`` seed."""
    text = "/".join(str(part) for part in (base, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(base: int, *names: object) -> np.random.Generator:
    """A numpy generator on the stream called ``names``."""
    return np.random.default_rng(stream_seed(base, *names))
