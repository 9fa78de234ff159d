"""The command: mpirun -n 4 python -m zero_ref.train --stage 3"""

import traceback

from zero_ref import launch
from zero_ref.train import options


def main(arguments: list[str] | None = None) -> None:
    """Read the options, for which no MPI is needed; then train, or go on from a checkpoint."""
    asked = options.given(arguments)
    if asked.resume is None:
        o = options.parse(arguments)
        if o.device == "meta":
            from zero_ref.train.rehearsal import rehearse

            rehearse(o)
            return
    from zero_ref.train.run import go_on, meet, train

    world = meet(asked)
    o, checkpoint = (o, None) if asked.resume is None else go_on(asked, arguments, world)
    try:
        train(o, checkpoint)
    except MemoryError as error:
        from zero_ref.train.rehearsal import memory_of

        traceback.clear_frames(error.__traceback__)  # they hold what has been allocated
        raise MemoryError(f"{error}; {memory_of(o)}") from None


if __name__ == "__main__":
    launch.run(main)
