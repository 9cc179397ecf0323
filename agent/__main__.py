"""The console script `k3s-harden`, and `python -m agent` for where it is not installed."""

import gc


def main() -> None:
    """Run the command line with the garbage collector off, which takes a fifth of a short run."""
    # Nothing lives long enough to be collected. Off before the first import, which makes most objects of the run;
    # frozen at the end, or the interpreter would go through them all once more as it shuts down.
    gc.disable()
    from agent.cli import main as run

    try:
        run()
    finally:
        gc.freeze()


if __name__ == "__main__":
    main()
