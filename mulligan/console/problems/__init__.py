"""The problems' page: what is wrong, and what helps."""
