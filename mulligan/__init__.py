"""Mulligan: an event-sourced machine provisioning control plane."""

__version__ = "0.2.0"
