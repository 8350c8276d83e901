"""Read model ``regions``: how the region describes itself."""

from mulligan.projections.schema import ReadModel, stream_table

MODEL = ReadModel(name="regions", tables=(stream_table("region", "region"),))
