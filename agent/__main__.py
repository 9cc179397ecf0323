"""The console script `k3s-harden`, and `python -m agent`."""

# The public module imports enum and more, which takes half of the time before the first line here; in that time Ctrl-C
# would print a traceback.
import _signal  # type: ignore[import-not-found]
import gc


def main() -> None:
    """Run the command line with the garbage collector off, which takes a fifth of a short run."""
    # A run is too short for garbage. The collector is off before the first import, which creates most objects, and
    # the objects are frozen at the end, because the interpreter would otherwise collect them when it exits.
    gc.disable()
    # Ctrl-C in an import would end in a traceback. agent.cli sets a handler when it can report the interrupt.
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    from agent.cli import main as run

    try:
        run()
    finally:
        gc.freeze()


if __name__ == "__main__":
    main()
