"""BMCs and images that are not as they should be, and machines asked for what cannot be."""

import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import anyio
import pytest
from grpclib import GRPCError, Status

from mulligan.client import Client
from mulligan.errors import FailedPrecondition, NotFound
from mulligan.proto import v1
from tests.e2e.fleet import CREDENTIAL, IMAGE, Fleet, machine, rests, write_image
from tests.e2e.region import RunningRegion, until
from tests.services.conftest import SECRET, Tokens
from tests.services.edge import Edge, refusal

ABSENT = "018f0000-0000-7000-8000-000000000000"
RED, BLUE, SPARE, LOCKED = "node-00", "node-01", "node-02", "node-03"


class World(NamedTuple):
    """A fleet of which three machines can be claimed, and the clients of its users."""

    fleet: Fleet
    admin: Client
    red: Client
    dead_port: int


@pytest.fixture(scope="module")
async def world(region: RunningRegion, tokens: Tokens, place: Path) -> AsyncIterator[World]:
    fleet = Fleet(region, place / "fleet", 4)
    admin, red = region.client(), region.client("rita", SECRET, "red")
    async with fleet.emulator:
        await fleet.prepare(admin)
        dead = closed_port()
        nobody = v1.Bmc(address=f"https://127.0.0.1:{dead}", credential=CREDENTIAL)
        await enrol(admin, "gone", nobody)  # its five attempts take a while
        await fleet.enrol(admin, [RED, BLUE, SPARE])
        await fleet.provide(admin, [RED, BLUE, SPARE])
        yield World(fleet, admin, red, dead)


@contextmanager
def black_hole() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken: list[socket.socket] = []

        def take() -> None:
            with suppress(OSError):
                while True:
                    taken.append(server.accept()[0])

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            for connection in taken:
                connection.close()


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


async def failed(admin: Client, name: str, within: float) -> v1.Fault:
    """Return why the machine failed, once it has."""

    async def has_failed() -> bool:
        found = await machine(admin, name)
        return found.state is v1.MachineState.FAILED

    await until(has_failed, f"{name} fails", within)
    found = await machine(admin, name)
    assert found.operation is None
    assert found.fault is not None
    return found.fault


async def told_of(region: RunningRegion) -> dict[str, dict[str, str]]:
    """Return the problems that `mulligan status` tells, by what they are about."""
    told = json.loads((await region.cli("status", "-o", "json")).stdout)
    return {one["subject"]: one for one in told["problems"]}


async def enrol(admin: Client, name: str, bmc: v1.Bmc) -> None:
    await admin.control.enroll_machine(v1.EnrollMachineRequest(name=name, bmc=bmc))
    await admin.control.inspect_machine(v1.MachineRequest(machine=name))


async def attempts(admin: Client, name: str, step: str) -> list[v1.Action]:
    listed = await admin.control.list_actions(v1.ListActionsRequest(machine=name))
    return [action for action in listed.actions if action.step == step]


async def exact(client: Client, name: str, *nodes: str, start: datetime | None = None) -> str:
    """Claim machines by name for a day from ``start`` on; return the claim's UUID."""
    begins = start or datetime.now(UTC)
    window = v1.Window(start=start, end=begins + timedelta(days=1))
    allocations = [v1.Allocation(provider=node, amounts={"machine": 1}) for node in nodes]
    asked = v1.ClaimExactRequest(name=name, allocations=allocations, window=window)
    claim = (await client.resource.claim_exact(asked)).claim
    assert claim is not None
    return claim.uuid


async def test_a_bmc_that_is_not_there_is_tried_again_and_then_given_up(world: World) -> None:
    fault = await failed(world.admin, "gone", 40)
    assert fault.fault == "unreachable"
    assert f"127.0.0.1:{world.dead_port}" in fault.message
    tried = await attempts(world.admin, "gone", "check")
    assert [action.attempt for action in reversed(tried)] == [1, 2, 3, 4, 5]


async def test_a_bmc_that_never_answers_holds_up_nobody_and_can_be_aborted(world: World) -> None:
    with black_hole() as port:
        bmc = v1.Bmc(address=f"http://127.0.0.1:{port}", credential=CREDENTIAL)
        await enrol(world.admin, "mute", bmc)

        async def is_asked() -> bool:
            return any(
                a.status == "attempted" for a in await attempts(world.admin, "mute", "check")
            )

        await until(is_asked, "the executor asks the BMC", 10)
        why = await world.admin.control.why_machine(v1.WhyMachineRequest(machine="mute"))
        assert "to finish check" in why.waiting_for
        power = v1.PowerMachineRequest(machine=SPARE, target=v1.PowerTarget.OFF)
        await world.admin.control.power_machine(power)
        await rests(world.admin, SPARE, v1.MachineState.AVAILABLE, 15)
        await world.admin.control.abort_machine(v1.MachineRequest(machine="mute"))
        fault = await failed(world.admin, "mute", 5)
        assert fault.fault == "aborted"
    gone = v1.DeleteMachineRequest(machine="mute", force=True, reason="the BMC is dead")
    await world.admin.control.delete_machine(gone)


async def test_a_wrong_bmc_password_is_tried_once_and_names_the_fix(world: World) -> None:
    wrong = v1.CreateCredentialRequest(name="wrong", username="admin", password="guess")
    await world.admin.control.create_credential(wrong)
    await enrol(world.admin, "locked", world.fleet.bmc(LOCKED, "wrong"))
    fault = await failed(world.admin, "locked", 15)
    assert fault.fault == "bad-credentials"
    assert "correct the machine's credential" in fault.message
    assert "guess" not in fault.message
    assert len(await attempts(world.admin, "locked", "check")) == 1
    told = (await told_of(world.fleet.region))["locked"]
    assert "refused the user 'admin' or its password" in told["what"]
    assert "mulligan machine update locked --credential OTHER" in told["next"]
    assert told["next"].endswith("then mulligan machine retry locked")
    shown = (await world.fleet.region.cli("machine", "show", "locked", "-o", "wide")).stdout
    assert "mulligan machine allow-logins locked" in " ".join(shown.split())


async def test_a_certificate_that_is_not_the_pinned_one_is_not_trusted_and_both_are_told(
    world: World,
) -> None:
    region, shown = world.fleet.region, world.fleet.bmc(SPARE).fingerprint

    async def pin(fingerprint: str) -> None:
        done = await region.cli("machine", "update", SPARE, "--fingerprint", fingerprint)
        assert done.returncode == 0, done.stderr

    async def at_rest() -> bool:
        return SPARE in await told_of(region)

    await pin("0" * 64)
    try:
        bmc = v1.Bmc(
            address=world.fleet.emulator.address,
            credential=CREDENTIAL,
            system="another",
            fingerprint="0" * 64,
        )
        await enrol(world.admin, "impostor", bmc)
        assert (await failed(world.admin, "impostor", 15)).fault == "tls"
        await until(at_rest, "status tells of the machine at rest too", 60)
        for name in ("impostor", SPARE):
            told = (await told_of(region))[name]
            assert f"another certificate than the pinned one: {shown}" in told["what"]
            assert f"mulligan machine update {name} --fingerprint SHA256" in told["next"]
    finally:
        await pin(shown)


async def test_a_system_that_the_bmc_does_not_have_is_named(world: World) -> None:
    bmc = world.fleet.bmc(LOCKED)
    bmc.system = "nobody"
    await enrol(world.admin, "phantom", bmc)
    fault = await failed(world.admin, "phantom", 15)
    assert fault.fault == "no-such-system"
    assert "nobody" in fault.message


async def test_an_image_whose_checksum_differs_is_not_booted(world: World) -> None:
    write_image(world.fleet.region, "forged.iso")
    forged = v1.CreateImageRequest(name="forged", url="file:forged.iso", sha256="1" * 64)
    await world.admin.control.create_image(forged)
    await exact(world.red, "forgery", RED)
    deploy = v1.DeployMachineRequest(claim="forgery", image="forged")
    await world.red.control.deploy_machine(deploy)
    fault = await failed(world.red, RED, 20)
    assert (fault.fault, fault.step) == ("checksum-mismatch", "stage_image")
    assert len(await attempts(world.red, RED, "stage_image")) == 1
    assert not await attempts(world.red, RED, "insert_media")
    found = await machine(world.red, RED)
    assert found.claim, "a failed deploy keeps its claim"
    await world.red.resource.release_claim(v1.ReleaseClaimRequest(claim="forgery"))
    await rests(world.admin, RED, v1.MachineState.AVAILABLE, 40)


async def test_an_image_that_is_not_there_says_where_to_put_it(world: World) -> None:
    missing = v1.CreateImageRequest(name="missing", url="file:missing.iso", sha256="1" * 64)
    await world.admin.control.create_image(missing)
    await exact(world.red, "nothing", BLUE)
    deploy = v1.DeployMachineRequest(claim="nothing", image="missing")
    await world.red.control.deploy_machine(deploy)
    fault = await failed(world.red, BLUE, 20)
    assert fault.fault == "image-missing"
    assert "missing.iso" in fault.message
    await world.red.control.release_machine(v1.MachineRequest(machine=BLUE))
    await rests(world.admin, BLUE, v1.MachineState.AVAILABLE, 40)


async def test_a_reservation_that_has_not_begun_cannot_be_deployed(world: World) -> None:
    start = datetime.now(UTC) + timedelta(hours=1)
    await exact(world.red, "tomorrow", SPARE, start=start)
    deploy = v1.DeployMachineRequest(claim="tomorrow", image=IMAGE)
    with pytest.raises(FailedPrecondition, match="begins at"):
        await world.red.control.deploy_machine(deploy)
    await world.red.resource.release_claim(v1.ReleaseClaimRequest(claim="tomorrow"))


async def test_what_one_service_answered_the_next_one_knows(world: World) -> None:
    # The client says what it has seen; every instance catches up with that before it decides.
    start = datetime.now(UTC) + timedelta(days=2)
    for _ in range(10):
        await exact(world.red, "to and fro", SPARE, start=start)
        deploy = v1.DeployMachineRequest(claim="to and fro", image=IMAGE)
        with pytest.raises(FailedPrecondition, match="begins at"):
            await world.red.control.deploy_machine(deploy)
        await world.red.resource.release_claim(v1.ReleaseClaimRequest(claim="to and fro"))
        with pytest.raises(NotFound):
            await world.red.control.deploy_machine(deploy)


async def test_a_position_beyond_the_log_is_refused_and_says_that_the_log_was_put_back(
    edge: Edge, tokens: Tokens
) -> None:
    request = v1.GetImageRequest(image=IMAGE)
    metadata = {"mulligan-position": f"{edge.region.config.region}:999999999"}
    refused = await refusal(edge.call("control.get_image", request, tokens.red, metadata=metadata))
    assert refused.status is Status.FAILED_PRECONDITION
    assert "you have seen entry 999999999" in refused.message
    metadata = {"mulligan-position": "yesterday"}
    refused = await refusal(edge.call("control.get_image", request, tokens.red, metadata=metadata))
    assert refused.status is Status.INVALID_ARGUMENT


async def test_a_claim_deploys_only_the_machines_it_holds(
    world: World, edge: Edge, tokens: Tokens
) -> None:
    await exact(world.red, "both", RED, BLUE)
    unclear = v1.DeployMachineRequest(claim="both", image=IMAGE)
    refused = await refusal(edge.call("control.deploy_machine", unclear, tokens.red))
    assert (refused.status, refused.fields) == (Status.INVALID_ARGUMENT, ("machine",))
    texts = {}
    for other in (SPARE, "no-such-node", ABSENT):
        asked = v1.DeployMachineRequest(claim="both", image=IMAGE, machine=other)
        refused = await refusal(edge.call("control.deploy_machine", asked, tokens.red))
        texts[refused.message.replace(other, "MACHINE")] = refused.status
    assert len(texts) == 1, "a tenant learns nothing of machines that it does not hold"
    assert set(texts.values()) == {Status.NOT_FOUND}
    await world.red.resource.release_claim(v1.ReleaseClaimRequest(claim="both"))


@pytest.mark.parametrize(
    ("method", "ask"),
    [
        ("control.get_machine", lambda m: v1.GetMachineRequest(machine=m)),
        ("control.why_machine", lambda m: v1.WhyMachineRequest(machine=m)),
        ("control.list_actions", lambda m: v1.ListActionsRequest(machine=m)),
        ("control.release_machine", lambda m: v1.MachineRequest(machine=m)),
        (
            "control.power_machine",
            lambda m: v1.PowerMachineRequest(machine=m, target=v1.PowerTarget.ON),
        ),
    ],
)
async def test_a_machine_that_one_does_not_hold_looks_as_if_it_were_not_there(
    world: World,
    edge: Edge,
    tokens: Tokens,
    method: str,
    ask: Callable[[str], object],
) -> None:
    held = (await machine(world.admin, SPARE)).uuid
    found = await refusal(edge.call(method, ask(held), tokens.red))
    missing = await refusal(edge.call(method, ask(ABSENT), tokens.red))
    assert found.status is Status.NOT_FOUND
    assert found.message == missing.message.replace(ABSENT, held)
    by_name = await refusal(edge.call(method, ask(SPARE), tokens.red))
    no_name = await refusal(edge.call(method, ask("no-such-node"), tokens.red))
    assert by_name == no_name._replace(message=no_name.message.replace("no-such-node", SPARE))


async def test_a_machine_is_asked_only_what_its_state_allows(
    world: World, edge: Edge, tokens: Tokens
) -> None:
    for method in ("provide_machine", "inspect_machine", "retry_machine", "abort_machine"):
        asked = v1.MachineRequest(machine=SPARE)
        refused = await refusal(edge.call(f"control.{method}", asked, tokens.admin))
        assert refused.status is Status.FAILED_PRECONDITION
        assert SPARE in refused.message
    unheld = v1.MachineRequest(machine=SPARE)
    refused = await refusal(edge.call("control.release_machine", unheld, tokens.admin))
    assert "not held by a claim" in refused.message


async def test_a_machine_is_deleted_by_force_only_with_a_reason(
    world: World, edge: Edge, tokens: Tokens
) -> None:
    gone = v1.DeleteMachineRequest(machine=SPARE, force=True)
    refused = await refusal(edge.call("control.delete_machine", gone, tokens.admin))
    assert (refused.status, refused.fields) == (Status.INVALID_ARGUMENT, ("reason",))
    orderly = v1.DeleteMachineRequest(machine=SPARE)
    refused = await refusal(edge.call("control.delete_machine", orderly, tokens.admin))
    assert refused.status is Status.FAILED_PRECONDITION


async def test_one_system_is_enrolled_once(world: World, edge: Edge, tokens: Tokens) -> None:
    again = v1.EnrollMachineRequest(name="twin", bmc=world.fleet.bmc(RED))
    refused = await refusal(edge.call("control.enroll_machine", again, tokens.admin))
    assert refused.status is Status.ALREADY_EXISTS


async def test_two_claims_race_for_one_machine_and_one_wins(
    world: World, edge: Edge, tokens: Tokens
) -> None:
    outcomes: list[str] = []
    texts: list[str] = []

    async def take(token: str) -> None:
        asked = v1.ClaimExactRequest(
            allocations=[v1.Allocation(provider=SPARE, amounts={"machine": 1})]
        )
        try:
            made = await edge.call("resource.claim_exact", asked, token)
        except GRPCError as error:
            outcomes.append(error.status.name)
            texts.append(error.message or "")
        else:
            outcomes.append("taken")
            winners.append((token, made.claim.uuid))

    winners: list[tuple[str, str]] = []
    async with anyio.create_task_group() as tasks:
        for token in [tokens.red, tokens.blue] * 4:
            tasks.start_soon(take, token)
    assert sorted(outcomes) == ["RESOURCE_EXHAUSTED"] * 7 + ["taken"], texts
    (token, claim), *_ = winners
    await edge.call("resource.release_claim", v1.ReleaseClaimRequest(claim=claim), token)
