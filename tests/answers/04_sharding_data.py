import hashlib

import numpy as np


def my_samples(samples, rank, size, epoch, seed):
    order = np.random.default_rng([seed, epoch]).permutation(samples)
    return order[rank::size]


def owner(name, size):
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % size
