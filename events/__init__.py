"""What has happened: the event types of every stream kind, their envelope and codec.

Events are frozen structs in the past tense, one module a stream kind, and import nothing of ours
but ids. An event type never changes its meaning: a change of shape gets a new ``V`` and an
upcaster in ``events.codec``. Secrets never enter an event, only references by version.
"""

assert __name__ == "mulligan.events", "import it as mulligan.events"
