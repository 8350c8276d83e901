"""How soon a command's first request is at the BMC, in a whole region."""

from benchmarks._loop import percentile


async def first_calls(count: int) -> dict[str, float]:
    return {"p50": percentile([], 0.5)}
