"""Dry runs: a service's own method runs, in a trial, up to where its command would append.

So what a dry run answers is decided by the very code that answers the call itself, and so are its
refusals. Not every call can be tried out: ``NOT_TRIED`` says which cannot, and why.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import betterproto2

from mulligan.commands.runner import Commands
from mulligan.commands.states import Known
from mulligan.commands.trials import Tried, TriedOut
from mulligan.errors import InvalidArgument, MulliganError
from mulligan.events.envelope import Commit
from mulligan.model import StreamId, stream_key, stream_kind
from mulligan.proto import v1
from mulligan.services import render
from mulligan.services.gate import visibility
from mulligan.services.gate.caller import act_as, set_asked
from mulligan.services.log.log_views import ProjectLog
from mulligan.services.runtime import Runtime
from mulligan.trial import trying_out

_SETTING = "sets what one process does, and appends nothing"
_QUIET = "tells whether a secret is the right one, and a dry run leaves no trace of the question"
_LEADS = "no command decides it: it is done by the process that leads this work, and takes time"
NOT_TRIED: Mapping[str, str] = {
    "Iam.Login": "gives tokens: there is nobody yet whom to tell anything",
    "Iam.Refresh": "gives tokens, and appends nothing",
    "Iam.ChangeSecret": _QUIET,
    "Iam.RekeySecrets": "is work that goes on, over what is sealed at that time",
    "Iam.IamConfigure": _SETTING,
    "Meta.MetaConfigure": _SETTING,
    "Resource.ResourceConfigure": _SETTING,
    "Control.RotateCredential": _QUIET,
    "Control.ControlConfigure": _SETTING,
    "Executor.ScanBmcs": "asks BMCs, and appends nothing",
    "Executor.ExecutorConfigure": _SETTING,
    "Log.SignCheckpoint": _LEADS,
    "Log.LogConfigure": _SETTING,
    "Projector.RebuildProjections": "is work on read models, of which the log knows nothing",
    "Projector.RetryProjection": "is work on read models, of which the log knows nothing",
    "Projector.ProjectorConfigure": _SETTING,
    "Archiver.SealArchive": _LEADS,
    "Archiver.ArchiverConfigure": _SETTING,
}
"""Calls that change something and that no dry run takes, with the reason."""

_PREFIX, _SUFFIX = "DryRun", "Request"


class DryRuns:
    """The method ``DryRun`` of a service that has commands."""

    _rt: Runtime

    async def dry_run(self, message: Any) -> v1.DryRunResponse:
        """Answer what the command in the message would append; raise what it would raise."""
        name, inner = betterproto2.which_one_of(message, "command")
        if inner is None:
            raise InvalidArgument("command", "say which command to try out")
        service = type(message).__name__.removeprefix(_PREFIX).removesuffix(_SUFFIX)
        act_as(f"/mulligan.v1.{service}/{rpc_name(name)}")
        set_asked(inner)
        with trying_out():
            try:
                await getattr(self, name)(inner)
            except TriedOut as end:
                return await self._told(end.tried)
        raise MulliganError(f"{service}.{rpc_name(name)} has no command to try out; report this")

    async def _told(self, tried: Tried) -> v1.DryRunResponse:
        commits: Sequence[Commit] = tried.commits
        supposed = _Supposed(self._rt.parts.commands, tried.states)
        project = visibility.holder()
        if project is not None:
            view = ProjectLog(supposed, project)
            await view.learn(commits)
            commits = [seen for one in commits if (seen := view.seen(one)) is not None]
        return v1.DryRunResponse(
            position=render.position(tried.position),
            records=[render.log_record(one) for one in commits],
            done_before=tried.repeat,
            provider_names=await _provider_names(supposed, commits),
        )


class _Supposed:
    """Exact states, but for those that a trial would have changed."""

    def __init__(self, commands: Commands, states: Mapping[StreamId, Known]) -> None:
        self._commands = commands
        self._states = states

    async def states(self, streams: list[StreamId]) -> Mapping[StreamId, Known]:
        """Return several states."""
        known = await self._commands.states([one for one in streams if one not in self._states])
        return {**known, **{one: self._states[one] for one in streams if one in self._states}}


async def _provider_names(supposed: _Supposed, commits: Sequence[Commit]) -> dict[str, str]:
    """Return what the providers are called whose events are told of, by UUID."""
    streams = {event.stream for commit in commits for event in commit.events}
    wanted = [one for one in sorted(streams) if stream_kind(one) == "provider"]
    known = await supposed.states(wanted)
    return {stream_key(one): known[one].state.name for one in wanted if known[one].state}


def rpc_name(method: str) -> str:
    """Return the name of an RPC by that of its method: ``MakeClaim`` of ``make_claim``."""
    return "".join(part.title() for part in method.split("_"))
