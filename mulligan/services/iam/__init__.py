"""mulligan-iam: accounts, projects, roles, tokens and keys."""
