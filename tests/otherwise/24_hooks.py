"""The solution written in other ways: all of them are right."""

RIGHT = (
    """import numpy as np
from lessons.given.hooks import lend

def hooks(stage, comm):
    class Hooks:
        def gather(self, u):
            full = comm.all_gather(u.param, u.layout)
            for name, view in u.layout.views(full).items():
                u.tensors[name].data = view

        def drop(self, u):
            [setattr(t, "data", None) for t in u.tensors.values()]

        def reduce(self, u):
            full = np.zeros(u.layout.padded)
            views = u.layout.views(full)
            for name, t in u.tensors.items():
                views[name][:], t.grad = t.grad, None
            u.grad[:] += comm.reduce_scatter(full, u.layout)
            self.drop(u)

    h = Hooks()
    again = {"after forward": [h.drop], "before backward": [h.gather]} if stage == 3 else {}
    return {"before forward": [h.gather], **again, "gradient ready": [h.reduce]}
""",
)
