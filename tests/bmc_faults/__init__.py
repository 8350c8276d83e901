"""A fault proxy: stands before any Redfish service and does to it what real BMCs do.

By hand: ``python -m tests.bmc_faults --upstream URL --script FILE --seed N``, which prints its
address and a line for each injected fault. In tests: ``async with FaultProxy(url, rules)``.

A script is YAML or JSON: ``rules: [{fault: NAME, …}, …]``. The vocabulary, which ``--help`` prints
with every field and its default:

- of the way (``timing``): ``delay``, ``trickle``, ``drop``, ``hang``, ``fail_after``, ``ignore``;
- of the answer (``answers``): ``refuse`` (409 and 503 windows, Retry-After), ``unsupported``,
  ``html``, ``invalid_json``, ``wrong_types``, ``endless``, ``redirect``;
- of logging in (``access``): ``sessions``, ``lockout``, ``unauthorized``;
- of what is reported (``lies``): ``stale``, ``stale_insert``, ``power_flap``, ``boot_continuous``,
  ``insert_wants``, ``no_actions``, ``etag``;
- of tasks (``tasks``): ``task``.
"""
