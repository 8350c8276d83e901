"""The event log: append, tail, verify; its in-memory twin; leases and the service registry.

What knows etcd is ``etcd`` (the door), ``etcdlog`` (the log's keys) and ``registry``. ``regionlog``
holds the protocol itself and runs on any ``LogStore``. Nothing here decides what an event means.
"""
