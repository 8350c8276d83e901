"""Read model ``images``: bootable images and references to BMC credentials."""

from mulligan.projections.schema import ReadModel, stream_table

MODEL = ReadModel(
    name="images",
    tables=(stream_table("image", "image"), stream_table("credential", "credential")),
)
