"""mulligan-archiver: the log's older entries outside etcd, and whether secrets were saved."""
