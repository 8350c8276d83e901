"""Amounts, spans and times as people write them; the console reads and writes them alike."""

from mulligan.quantities import (
    MAX_AMOUNT,
    format_amount,
    format_bytes,
    format_span,
    format_time,
    parse_amount,
    parse_attributes,
    parse_pairs,
    parse_span,
    parse_time,
)

__all__ = [
    "MAX_AMOUNT",
    "format_amount",
    "format_bytes",
    "format_span",
    "format_time",
    "parse_amount",
    "parse_attributes",
    "parse_pairs",
    "parse_span",
    "parse_time",
]
