"""The command: mpirun -n 4 python -m zero_ref.train --stage 3"""

import traceback

from zero_ref import launch
from zero_ref.train import options


def main(arguments: list[str] | None = None) -> None:
    """Read the options, for which no MPI is needed; then train, or go on from a checkpoint."""
    where = options.resumes(arguments)
    if where is None:
        o, checkpoint = options.parse(arguments), None
        if o.device == "meta":
            from zero_ref.train.rehearsal import rehearse

            rehearse(o)
            return
        from zero_ref.train.run import train
    else:
        from zero_ref.checkpoint.saving import open_together
        from zero_ref.train.run import train

        checkpoint = open_together(where)
        o = options.parse(arguments, checkpoint.manifest.arguments)
    try:
        train(o, checkpoint)
    except MemoryError as error:
        from zero_ref.train.rehearsal import memory_of

        traceback.clear_frames(error.__traceback__)  # they hold what has been allocated
        raise MemoryError(f"{error}; {memory_of(o)}") from None


if __name__ == "__main__":
    launch.run(main)
