"""What is wrong with a region: what its parts say, asked all at once, and what follows from it.

``mulligan status`` and the console show the same problems, with the same next steps.
"""
