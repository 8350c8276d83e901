"""mulligan-resource: providers and claims."""
