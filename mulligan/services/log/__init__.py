"""mulligan-log: reading, proving and signing the log, and the record of denials."""
