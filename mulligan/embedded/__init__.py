"""Servers of our own for one machine: etcd, Postgres, and the process tree of ``mulligan up``."""
