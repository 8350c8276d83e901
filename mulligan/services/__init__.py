"""The gRPC services: thin, they translate messages to commands and states to messages.

``call`` is the one place where a call is authenticated, authorised, bounded in time and where
errors become gRPC statuses. ``runtime`` opens what a service needs and waits for it; ``serve`` runs
one service as a process.
"""
