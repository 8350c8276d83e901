"""Read model ``regions``: how the region describes itself, and the regions that it knows."""

from mulligan.projections.schema import ReadModel, stream_table

MODEL = ReadModel(name="regions", tables=(stream_table("region", "region"),))
