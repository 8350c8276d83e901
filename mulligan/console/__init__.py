"""The operator's console: a fleet at a glance, what happens now, and what happened then.

It is a client like any other: all it shows comes through the smart client, all it does too.
"""
