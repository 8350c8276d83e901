"""The log's page: followed, filtered, read back."""
