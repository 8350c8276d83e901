"""Runs commands: load exact states, decide, append, and decide again where somebody was faster.

``Commands`` is the only way to change anything. It knows nothing of gRPC, and the handlers it runs
know nothing of it.
"""
