"""What may happen: pure decisions and folds, one module a stream kind.

``evolve`` folds an event into a state; a command's ``reads`` names the streams it needs and its
``decide`` returns the changes, or raises one of ``mulligan.errors``. Nothing here awaits, reads a
clock, draws a random number or knows where state is kept.
"""

assert __name__ == "mulligan.handlers", "import it as mulligan.handlers"
