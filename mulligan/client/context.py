"""Contexts: where a control plane is and who we are there, kept in one TOML file.

The file is ``~/.config/mulligan/config.toml`` unless MULLIGAN_CONFIG names another.
MULLIGAN_ADDRESS (several with commas), MULLIGAN_CA, MULLIGAN_ACCOUNT, MULLIGAN_PROJECT,
MULLIGAN_CERT, MULLIGAN_KEY and MULLIGAN_SECRET override what the current context says.
"""

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from mulligan.client.files import write_private
from mulligan.errors import FailedPrecondition, InvalidArgument, NotFound


class Context(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One control plane and one identity on it.

    ``address`` lists ``host:port`` of any services; ``ca`` is the path of the PEM file that vouches
    for them. An empty ``project`` logs in to the system; an empty ``region`` takes the one that the
    address belongs to. ``cert`` and ``key`` are the paths of a client certificate, which logs in
    where there is no secret. Paths may be relative to the file that the context is kept in.
    """

    address: tuple[str, ...] = ()
    ca: str = ""
    account: str = ""
    project: str = ""
    region: str = ""
    secret_file: str = ""
    cert: str = ""
    key: str = ""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file: contexts by name, and the name of the current one."""

    current: str = ""
    contexts: dict[str, Context] = {}


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """A context with every override applied and its paths absolute; ``secret`` may be empty."""

    name: str
    context: Context
    secret: str = ""

    def __repr__(self) -> str:
        return f"Chosen(name={self.name!r}, context={self.context!r})"


def config_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the contexts are kept."""
    named = environ.get("MULLIGAN_CONFIG")
    if named:
        return Path(named).expanduser()
    base = environ.get("XDG_CONFIG_HOME")
    folder = Path(base) if base else Path.home() / ".config"
    return folder / "mulligan" / "config.toml"


def load_settings(path: Path) -> Settings:
    """Read the contexts; no file is no contexts. Raise InvalidArgument when it cannot be read."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return Settings()
    except OSError as error:
        raise InvalidArgument(str(path), f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidArgument(str(path), "is no text; correct or remove the file") from error
    try:
        return msgspec.convert(tomllib.loads(text), Settings)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise InvalidArgument(str(path), f"{error}; correct or remove the file") from error


def save_settings(path: Path, settings: Settings) -> None:
    """Write the file, readable by its owner only, all of it or nothing."""
    lines = [f"current = {_quoted(settings.current)}"]
    for name, context in settings.contexts.items():
        lines += ["", f"[contexts.{_quoted(name)}]"]
        for key, value in msgspec.to_builtins(context).items():
            if value:
                lines.append(f"{key} = {_quoted(value)}")
    write_private(path, "\n".join(lines) + "\n")


def save_context(
    path: Path,
    name: str,
    context: Context,
    make_current: bool = True,
    *,
    keep_tokens: bool = False,
) -> None:
    """Add or replace one context, and forget the tokens that were cached under its name."""
    from mulligan.client.tokens import TokenCache

    settings = load_settings(path)
    contexts = {**settings.contexts, name: context}
    current = name if make_current or not settings.current else settings.current
    save_settings(path, Settings(current=current, contexts=contexts))
    if not keep_tokens:
        TokenCache.at(name).forget()


def choose_context(
    path: Path,
    name: str = "",
    *,
    overrides: Mapping[str, str] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Chosen:
    """Return the named or current context under the environment's and then ``overrides``' values.

    ``overrides`` may hold ``address``, ``ca``, ``account``, ``project``, ``cert`` and ``key``;
    empty values are ignored. Addresses of another control plane bring their own region. Raise
    NotFound for an unknown name, and FailedPrecondition when nothing says where the control plane
    is.
    """
    settings = load_settings(path)
    wanted = name or environ.get("MULLIGAN_CONTEXT", "") or settings.current
    if name and name not in settings.contexts:
        known = ", ".join(sorted(settings.contexts)) or "none yet"
        raise _unknown(name, known, path)
    context = settings.contexts.get(wanted, Context())
    values = {
        key: environ.get(f"MULLIGAN_{key.upper()}", "")
        for key in ("address", "ca", "account", "project", "cert", "key")
    }
    values |= {key: value for key, value in (overrides or {}).items() if value}
    changed = {key: value for key, value in values.items() if value}
    addresses = tuple(part.strip() for part in changed.pop("address", "").split(",") if part)
    if changed.get("account", context.account) != context.account:
        # What proves the context's account is another account's.
        context = msgspec.structs.replace(context, secret_file="", cert="", key="")
    if addresses:
        if not set(addresses) & set(context.address):
            # Another control plane is likely of another region; it must not be shown this one's
            # secret where another CA vouches for it.
            context = msgspec.structs.replace(context, region="")
            if changed.get("ca", context.ca) != context.ca:
                context = msgspec.structs.replace(context, secret_file="", cert="", key="")
        context = msgspec.structs.replace(context, address=addresses)
    # The file's paths are relative to it, those of a variable or an option to where we are.
    given = _with_absolute_paths(msgspec.structs.replace(Context(), **changed), Path.cwd())
    context = _with_absolute_paths(context, path.parent)
    context = msgspec.structs.replace(context, **{key: getattr(given, key) for key in changed})
    if not context.address:
        raise FailedPrecondition(
            "no control plane is known: run `mulligan up` to start one here, "
            "`mulligan login --address HOST:PORT --ca FILE` to join one, or set MULLIGAN_ADDRESS"
        )
    secret = environ.get("MULLIGAN_SECRET", "") or _secret_in(context)
    return Chosen(name=wanted or "default", context=context, secret=secret)


def contexts_by_region(path: Path, account: str = "") -> dict[str, str]:
    """Return the name of the context that leads to each region; of several, the current one's.

    After that one of ``account`` goes before others. A context that names no region is left out.
    """
    settings = load_settings(path)
    chosen: dict[str, str] = {}
    ranked = sorted(
        settings.contexts.items(),
        key=lambda item: (item[0] != settings.current, item[1].account != account),
    )
    for name, context in ranked:
        if context.region and context.address:
            chosen.setdefault(context.region, name)
    return chosen


def _unknown(name: str, known: str, path: Path) -> NotFound:
    error = NotFound("context", name)
    error.message = f"context {name!r} is not in {path}; known: {known}"
    return error


def _with_absolute_paths(context: Context, folder: Path) -> Context:
    def absolute(text: str) -> str:
        return str(folder / Path(text).expanduser()) if text else ""

    paths = ("ca", "secret_file", "cert", "key")
    return msgspec.structs.replace(context, **{p: absolute(getattr(context, p)) for p in paths})


def _secret_in(context: Context) -> str:
    if not context.secret_file:
        return ""
    try:
        return Path(context.secret_file).read_text().strip()
    except OSError as error:
        problem = f"cannot read {context.secret_file}: {error.strerror}"
        raise InvalidArgument("secret_file", problem) from error


def _quoted(value: str | list[str]) -> str:
    return json.dumps(value, ensure_ascii=False)
