"""The distance types and quotas of a fleet file: what should be, and what is different."""

from collections.abc import Iterator

from mulligan.cli.fleet import Located, QuotaSpec, Wanted
from mulligan.cli.fleet_step import Actual, Step, difference
from mulligan.cli.span import parse_span_or_none
from mulligan.errors import InvalidArgument
from mulligan.proto import v1
from mulligan.quantities import format_amount, format_span, parse_amount


def distance_type_steps(wanted: Wanted, actual: Actual) -> Iterator[Step]:
    """Yield what makes each type of distance what it should be; positions are only ever added."""
    for name, (positions, place) in wanted.distance_types.items():
        found = actual.distance_types.get(name)
        shown = (f"+ {' < '.join(positions)}",)
        if found is None:
            create = v1.CreateDistanceTypeRequest(name=name, positions=positions)
            yield Step("create", "distance type", name, place, shown, create)
        elif found.positions == positions:
            yield Step("unchanged", "distance type", name, place)
        elif [one for one in positions if one in found.positions] != found.positions:
            there = " < ".join(found.positions)
            raise InvalidArgument(place.at(), f"is {there} there; positions keep their order")
        else:
            extend = v1.ExtendDistanceTypeRequest(name=name, positions=positions)
            yield Step("change", "distance type", name, place, shown, extend)


def quota_steps(wanted: Wanted, actual: Actual) -> Iterator[Step]:
    """Yield what makes each quota what it should be."""
    for project, (spec, place) in wanted.quotas.items():
        found = actual.quotas.get(project)
        request = _quota(project, spec, place, found or v1.Quota())
        old = _written(found.limits, found) if found else {}
        new = _written(request.limits, request)
        if found is not None and old == new:
            yield Step("unchanged", "quota", project, place)
        else:
            details = tuple(difference(old, new))
            yield Step("change" if found else "create", "quota", project, place, details, request)


def _quota(project: str, spec: QuotaSpec, place: Located, found: v1.Quota) -> v1.SetQuotaRequest:
    limits = found.limits
    if spec.limits is not None:
        limits = {
            name: parse_amount(amount, place.at("limits", name))
            for name, amount in spec.limits.items()
        }
    lease = found.max_lease
    if spec.max_lease:
        lease = parse_span_or_none(spec.max_lease, place.at("max_lease")) or None
    return v1.SetQuotaRequest(project=project, limits=limits, max_lease=lease, etag=found.etag)


def _written(limits: dict[str, int], quota: v1.Quota | v1.SetQuotaRequest) -> dict[str, str]:
    written = {name: format_amount(name, amount) for name, amount in limits.items()}
    if quota.max_lease:
        written["max_lease"] = format_span(quota.max_lease.total_seconds())
    return written
