"""Where the command begins: quiet from its first moment, then ``mulligan.cli.main``."""

import gc
import signal
import sys

GC_THRESHOLDS = (20_000, 20, 100)
"""What is imported stays, and is most of what a command makes: to look for cycles in it often, as
Python does by default, takes a tenth of a short command's time."""


def entry() -> None:
    """Run as the console script does; Ctrl-C while it is still loading ends it without a word."""
    gc.set_threshold(*GC_THRESHOLDS)
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from mulligan.cli.main import main

    try:
        signal.signal(signal.SIGINT, before)
        code = main()
    except KeyboardInterrupt:  # just before or just after what main itself catches
        code = 130
    gc.freeze()  # the process ends: Python need not look for cycles once more, in all there is
    sys.exit(code)


if __name__ == "__main__":
    entry()
