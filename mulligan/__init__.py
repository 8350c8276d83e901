"""Mulligan: an event-sourced machine provisioning control plane."""

__version__ = "0.1.0"
