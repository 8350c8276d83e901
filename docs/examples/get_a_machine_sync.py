"""The same without an event loop: get_a_machine_sync.py IMAGE."""

import sys
from datetime import timedelta

from mulligan.client.sync import Client

with Client.from_config() as client:
    claim = client.claim({"machine": 1}, lasting=timedelta(hours=1))
    machine = client.deploy(claim, sys.argv[1])
    print(f"{machine.name} runs {sys.argv[1]}")
    client.release(machine.uuid)
