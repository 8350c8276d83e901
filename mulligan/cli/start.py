"""Where the command begins: quiet from its first moment, then ``mulligan.cli.main``."""

import signal
import sys


def entry() -> None:
    """Run as the console script does; Ctrl-C while it is still loading ends it without a word."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from mulligan.cli.main import main

    try:
        signal.signal(signal.SIGINT, before)
        code = main()
    except KeyboardInterrupt:  # just before or just after what main itself catches
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    entry()
