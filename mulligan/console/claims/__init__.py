"""The claims' page: who holds what when, on a time line."""
