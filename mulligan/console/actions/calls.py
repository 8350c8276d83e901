"""What each action asks of the services."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from mulligan.console.actions.offered import ASK_S, Action

if TYPE_CHECKING:
    from mulligan.client.client import Client


async def _machine(action: Action, client: "Client") -> object:
    from mulligan.proto.v1 import MachineRequest

    request = MachineRequest(request_id=action.request_id, machine=action.uuid)
    calls = {
        "retry": client.control.retry_machine,
        "abort": client.control.abort_machine,
        "uncordon": client.control.uncordon_machine,
        "release": client.control.release_machine,
    }
    return await calls[action.verb](request, timeout=ASK_S)


async def _cordon(action: Action, client: "Client") -> object:
    from mulligan.proto.v1 import CordonMachineRequest

    request = CordonMachineRequest(
        request_id=action.request_id, machine=action.uuid, reason=action.reason
    )
    return await client.control.cordon_machine(request, timeout=ASK_S)


async def _retire(action: Action, client: "Client") -> object:
    from mulligan.proto.v1 import RetireMachineRequest

    request = RetireMachineRequest(
        request_id=action.request_id, machine=action.uuid, reason=action.reason
    )
    return await client.control.retire_machine(request, timeout=ASK_S)


async def _switch(action: Action, client: "Client") -> object:
    from mulligan.proto.v1 import PowerMachineRequest, PowerTarget

    targets = {
        "power-on": PowerTarget.ON,
        "power-off": PowerTarget.OFF,
        "power-cycle": PowerTarget.CYCLE,
    }
    request = PowerMachineRequest(
        request_id=action.request_id, machine=action.uuid, target=targets[action.verb]
    )
    return await client.control.power_machine(request, timeout=ASK_S)


async def _release_claim(action: Action, client: "Client") -> object:
    from mulligan.proto.v1 import ReleaseClaimRequest

    request = ReleaseClaimRequest(request_id=action.request_id, claim=action.uuid)
    return await client.resource.release_claim(request, timeout=ASK_S)


async def _extend_claim(action: Action, client: "Client") -> object:
    from mulligan.proto.v1 import RescheduleClaimRequest

    request = RescheduleClaimRequest(
        request_id=action.request_id, claim=action.uuid, end=action.end
    )
    return await client.resource.reschedule_claim(request, timeout=ASK_S)


async def _retry_projection(action: Action, client: "Client") -> object:
    from mulligan.proto.v1 import RetryProjectionRequest

    request = RetryProjectionRequest(name=action.uuid)
    return await client.projector.retry_projection(request, timeout=ASK_S)


async def _release_brake(action: Action, client: "Client") -> object:
    from mulligan.proto.v1 import ReleaseBrakeRequest

    request = ReleaseBrakeRequest(
        request_id=action.request_id, domain=action.uuid, reason=action.reason
    )
    return await client.control.release_brake(request, timeout=ASK_S)


CALLS: dict[str, Callable[[Action, "Client"], Awaitable[object]]] = {
    "retry": _machine,
    "abort": _machine,
    "uncordon": _machine,
    "release": _machine,
    "cordon": _cordon,
    "retire": _retire,
    "power-on": _switch,
    "power-off": _switch,
    "power-cycle": _switch,
    "claim-release": _release_claim,
    "claim-extend": _extend_claim,
    "projection-retry": _retry_projection,
    "brake-release": _release_brake,
}
