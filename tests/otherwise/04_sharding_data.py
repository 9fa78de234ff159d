"""The solution written in other ways: all of them are right."""

RIGHT = (
    """import hashlib, numpy as np

def my_samples(samples, rank, size, epoch, seed):
    random = np.random.Generator(np.random.PCG64((seed, epoch)))
    order = np.arange(samples)
    random.shuffle(order)
    return np.array([sample for place, sample in enumerate(order) if place % size == rank], dtype=int)

def owner(name, size):
    return sum(hashlib.sha256(name.encode("utf-8")).digest()) * 1000003 % 104729 % size
""",
    """import zlib
import numpy as np

def my_samples(samples, rank, size, epoch, seed):
    order = np.random.default_rng(seed * 1_000_003 + epoch).permutation(samples)
    return np.array_split(order, size)[rank]

def owner(name, size):
    return zlib.crc32(bytes(name, "utf8")) % size
""",
    """import random
import hashlib
import numpy as np

def my_samples(samples, rank, size, epoch, seed):
    mine = random.Random(f"{seed} {epoch}")
    order = list(range(samples))
    mine.shuffle(order)
    return np.asarray(order[rank:samples:size], dtype=np.int64)

def owner(name, size):
    return int(hashlib.md5(name.encode()).hexdigest(), 16) % size
""",
    """import hashlib
import numpy as np

def my_samples(samples, rank, size, epoch, seed):
    keys = np.random.default_rng((seed, epoch)).random(samples)
    order = np.argsort(keys, kind="stable")
    ends = [samples * r // size for r in range(size + 1)]
    return order[slice(*ends[rank : rank + 2])]

def owner(name, size):
    return int.from_bytes(hashlib.sha1(name.encode()).digest()[:4], "big") % size
""",
)
