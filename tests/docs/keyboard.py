"""A hand at the keyboard: runs a command in a terminal and types an answer to each question.

``python keyboard.py ANSWERS COMMAND…``; answers are lines, of which one is typed whenever the
command waits behind a prompt. Whoever is asked whether they are sure is. The exit code is the
command's.
"""

import os
import pty
import re
import select
import sys

_PROMPT = re.compile(r"(: ?|\? ?|\] ?)$")
_SURE = "[y/N]: "
_PAUSE_S = 0.2


def main(answers: list[str], command: list[str]) -> int:
    """Run the command to its end and return its exit code."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(command[0], command)
    last = ""
    while True:
        ready, _, _ = select.select([terminal], [], [], _PAUSE_S)
        if ready:
            try:
                printed = os.read(terminal, 4096)
            except OSError:  # the other end is closed
                break
            if not printed:
                break
            sys.stdout.buffer.write(printed)
            sys.stdout.flush()
            last = (last + printed.decode(errors="replace"))[-200:]
        elif last.endswith(_SURE):
            os.write(terminal, b"y\n")
            last = ""
        elif answers and _PROMPT.search(last.rpartition("\n")[2]):
            os.write(terminal, f"{answers.pop(0)}\n".encode())
            last = ""
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1].splitlines(), sys.argv[2:]))
