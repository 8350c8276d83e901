"""Write who used how much in the last 30 days to standard output, as CSV."""

import csv
import sys

from mulligan.client.sync import Client
from mulligan.proto.v1 import SummarizeUsageRequest

with Client.from_config() as client:
    usage = client.resource.summarize_usage(SummarizeUsageRequest(by="project"))

table = csv.writer(sys.stdout)
table.writerow(["project", "class", "unit_hours", "peak", "claims"])
for row in usage.rows:
    table.writerow([row.name, row.resource_class, f"{row.unit_hours:.2f}", row.peak, row.claims])
