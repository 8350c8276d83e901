"""The compiled form of the ``.proto`` files, for gRPC reflection."""

from importlib import resources


def descriptor_set() -> bytes:
    """Return a serialized ``google.protobuf.FileDescriptorSet`` of every file, imports included."""
    return (resources.files("mulligan.proto._generated") / "descriptors.binpb").read_bytes()
