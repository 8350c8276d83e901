"""Read models: what the log says, as tables in Postgres that can be dropped and rebuilt.

- ``schema``: what a read model is made of; ``models.READ_MODELS``: all of them, one module each.
- ``worker.Worker(log, dsn).run()`` keeps them at the log's head, for ever; ``.status()`` tells
  the position, lag and trouble of each, ``.retry(name)`` tries a halted one again.
- ``rebuild.Rebuilder(log, dsn)``: ``.rebuild(names, verify=…)`` builds them from the first entry,
  compares and swaps, telling of its ``Progress``; ``.table_hashes(name)`` and ``.drop(names)``.
- ``fold`` folds in memory; ``applying`` brings one batch to one schema; ``lane`` is the read
  models at one position; ``session`` brings each into it; ``building`` makes a schema anew.
- ``checkpoint``: table ``mulligan.projection``, a row a schema.

A read model folds each stream with the very ``evolve`` of the command handlers, and its rows are
pure functions of the folded state: see ``docs/decisions/0002-read-models-hold-states.md``. Times
and ids come from the events. Nothing here decides, and nothing but ``mulligan.queries`` reads it.
"""

assert __name__ == "mulligan.projections", "import it as mulligan.projections"
