"""What a client that knows one address can find out: health, reflection, the catalog."""

import anyio
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpclib.health.v1.health_grpc import HealthStub
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpclib.reflection.v1.reflection_grpc import ServerReflectionStub
from grpclib.reflection.v1.reflection_pb2 import ServerReflectionRequest

from mulligan.proto import v1
from mulligan.services.serve import SERVICES
from tests.services.conftest import Tokens
from tests.services.edge import Edge

OWN = {name: f"mulligan.v1.{name.capitalize()}" for name in SERVICES}


@pytest.mark.parametrize("service", SERVICES)
async def test_every_service_says_that_it_serves(edge: Edge, service: str) -> None:
    stub = HealthStub(edge.channel(service))
    for name in ("", OWN[service]):
        answer = await stub.Check(HealthCheckRequest(service=name), timeout=5)
        assert answer.status == HealthCheckResponse.SERVING


@pytest.mark.parametrize("service", SERVICES)
async def test_every_service_lists_its_own_by_reflection(edge: Edge, service: str) -> None:
    stub = ServerReflectionStub(edge.channel(service))
    answers = await stub.ServerReflectionInfo(
        [ServerReflectionRequest(list_services="")], timeout=5
    )
    found = {one.name for one in answers[0].list_services_response.service}
    assert "grpc.health.v1.Health" in found
    assert {n for n in found if n.startswith("mulligan.")} == (
        {"mulligan.v1.Catalog", OWN[service]}
    )


@pytest.mark.parametrize("service", OWN)
async def test_reflection_gives_the_file_of_a_service_and_all_it_imports(
    edge: Edge, service: str
) -> None:
    stub = ServerReflectionStub(edge.channel(service))
    wanted, seen = {""}, set[str]()
    asked = ServerReflectionRequest(file_containing_symbol=OWN[service])
    while wanted:
        answers = await stub.ServerReflectionInfo([asked], timeout=5)
        assert not answers[0].error_response.error_message
        for raw in answers[0].file_descriptor_response.file_descriptor_proto:
            file = FileDescriptorProto.FromString(raw)
            seen.add(file.name)
            wanted |= set(file.dependency)
        wanted -= seen | {""}
        if wanted:
            asked = ServerReflectionRequest(file_by_filename=min(wanted))
    assert "mulligan/v1/options.proto" in seen


@pytest.mark.parametrize("service", SERVICES)
async def test_every_service_knows_where_all_the_others_are(edge: Edge, service: str) -> None:
    stub = v1.CatalogStub(edge.channel(service))
    answer = await stub.list_endpoints(v1.ListEndpointsRequest(), timeout=5)
    assert answer.region == edge.region.config.region
    listen = edge.region.config.listen
    assert {e.service: e.address for e in answer.endpoints} == {
        name: str(getattr(listen, name)) for name in SERVICES
    }
    assert all(e.version and e.instance for e in answer.endpoints)


async def test_the_catalog_can_be_watched(edge: Edge) -> None:
    stub = v1.CatalogStub(edge.channel("log"))
    with anyio.fail_after(5):
        async for answer in stub.watch_endpoints(v1.ListEndpointsRequest()):
            assert len(answer.endpoints) == len(SERVICES)
            break


async def test_a_log_level_changes_while_the_service_runs(edge: Edge, tokens: Tokens) -> None:
    for level in ("debug", "info"):
        changed = await edge.call(
            "resource.resource_configure", v1.ConfigureRequest(log_level=level), tokens.admin
        )
        assert changed.log_level == level
