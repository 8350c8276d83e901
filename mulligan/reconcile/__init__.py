"""Reconcilers: compare what is wanted with what is, and append the next action, or nothing.

``machine_plan`` is pure and decides; ``machines`` and ``claims`` watch the log and the clock and
run what was decided. Nothing is polled to find work.
"""
