"""Reads of the read models. SQL lives in the module that is named for what it answers.

- ``database.Database(dsn)``: ``async with`` it; every read takes it first. A Postgres that is away
  is ``Unavailable`` at once, and back without a restart.
- ``freshness.wait_until(database, models, seq, timeout=3, allow_stale=False)``: read-your-writes.
- ``states.load(database, streams)``: folded states for commands, with their checkpoints.
- ``commands.find_commit(database, id)``: an earlier request, for a repeat.
- ``fleet.load_space(…)``: the part of the fleet that a search for capacity looks at, as it is or
  as a ``fork.Fork`` says; ``why_not.why_not(…)``: how many providers each stage of it drops.
- Lists, by age and in pages (``paging``): ``accounts``, ``names``, ``providers``, ``claims``,
  ``machines``, ``images``; beyond that ``claims.find_due``, ``machines.find_busy``,
  ``providers.list_usage``, ``audit.stream_events``, ``latest_events`` and ``chain_events``,
  ``projections.list_projections``.

Every answer is a frozen struct with aware UTC times. What a list gives is as fresh as its read
model; the exact present of an object comes from ``mulligan.commands``.
"""
