"""The compiled form of the ``.proto`` files, for gRPC reflection and for reading messages."""

from importlib import resources

from mulligan.proto._generated.message_pool import default_message_pool


def descriptor_set() -> bytes:
    """Return a serialized ``google.protobuf.FileDescriptorSet`` of every file, imports included."""
    return (resources.files("mulligan.proto._generated") / "descriptors.binpb").read_bytes()


def full_name(message_type: type) -> str:
    """Return a message's name with its package; empty for a type that is not generated here."""
    return default_message_pool.type_to_url.get(message_type, "").rpartition("/")[2]
