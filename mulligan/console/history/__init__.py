"""The history's page: what happened to one object, and what each event changed."""
