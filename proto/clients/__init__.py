"""Smart clients in other languages, generated from the ``.proto`` files.

``generate`` writes ``typescript/`` and ``go/``: messages by each language's own plugin of protoc,
typed methods and tables from the descriptors, and the core (routing, repeats, identity, positions)
from ``templates/``, with the figures that the Python client goes by.
"""
