"""mulligan-meta: names, tags and definitions, the regions, and the catalog."""
