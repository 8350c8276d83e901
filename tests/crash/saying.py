"""Telling whoever watches a long run how far it is."""

import time

import pytest


def say(capsys: pytest.CaptureFixture[str], line: str) -> None:
    """Print a line at once, though pytest captures what tests print."""
    with capsys.disabled():
        print(f"\n{time.strftime('%H:%M:%S')} {line}", flush=True)  # noqa: T201
