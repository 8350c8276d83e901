"""Package ``mulligan.v1``: its messages, stubs, bases, permissions and reads, under one name."""

from mulligan.proto._generated.mulligan.v1 import *  # noqa: F403
from mulligan.proto._generated.permissions import PERMISSIONS as PERMISSIONS
from mulligan.proto._generated.reads import READS as READS
