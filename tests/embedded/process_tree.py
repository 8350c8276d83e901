"""A program for the supervisor's tests: ``process_tree.py STATE_DIR [servers] [fail] [finish]``."""

import logging
import signal
import subprocess
import sys
import threading
from pathlib import Path

from mulligan.config import load
from mulligan.embedded.region import init_region, server_children
from mulligan.embedded.supervisor import Child, Supervisor
from mulligan.errors import FailedPrecondition


def serve() -> int:
    """Live until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sys.stdout.write("serving\n")
    sys.stdout.flush()
    threading.Event().wait()
    return 0


def refuse_to_stop() -> int:
    """Live until SIGKILL, with a child that has left the process group."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    threading.Event().wait()
    return 0


def fail() -> int:
    """End as a service does that cannot start."""
    raise FailedPrecondition("there is no key; bring it back")


def main() -> int:
    """Run the tree."""
    logging.basicConfig(format="%(message)s")
    state_dir = Path(sys.argv[1])
    children = [Child(name="steady", run=serve), Child(name="stubborn", run=refuse_to_stop)]
    if "servers" in sys.argv:
        config = load(init_region(state_dir, "tree", usual_ports=False).config, {})
        children = [*server_children(config), children[0]]
    if "fail" in sys.argv:
        children.append(Child(name="failing", run=fail))
    if "finish" in sys.argv:
        children.append(Child(name="finish", run=lambda: 7, ends_all=True))
    return Supervisor(children, state_dir, preload=("asyncpg", "grpclib"), patience=2.0).run()


if __name__ == "__main__":
    sys.exit(main())
