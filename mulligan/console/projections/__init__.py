"""The page of read models, services and the log's stores."""
