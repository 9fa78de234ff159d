"""The command: mpirun -n 4 python -m zero_ref.train --stage 3"""

from zero_ref import launch, options


def main(arguments: list[str] | None = None) -> None:
    """Read the options, for which no MPI is needed; then train."""
    o = options.parse(arguments)
    from zero_ref.training import train

    train(o)


if __name__ == "__main__":
    launch.run(main)
