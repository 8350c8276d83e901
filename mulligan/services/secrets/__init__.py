"""Sealed secrets: kept in etcd beside the log, wrapped anew, saved."""
