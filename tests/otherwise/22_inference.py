"""The solution written in other ways: all of them are right."""

RIGHT = (
    """def predict(units, batches, rounds, comm):
    def through(x):
        for u in units:
            full = comm.all_gather(u.param, u.layout)
            if x is not None:
                x = u.forward(full, x)
                u.forget()
            full = None
        return x

    padded = list(batches) + [None] * (rounds - len(batches))
    return [y for x in padded if (y := through(x)) is not None]
""",
    """import itertools

def predict(units, batches, rounds, comm):
    outputs = []
    for x, _ in itertools.zip_longest(batches, range(rounds)):
        for u in units:
            x = (lambda full: None if x is None else u.forward(full, x))(comm.all_gather(u.param, u.layout))
            u.forget() if x is not None else None
        outputs += [] if x is None else [x]
    return outputs
""",
)
