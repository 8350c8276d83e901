"""The grammar of the command line: verbs made when they are named, values read, help written.

Typer makes every verb of a noun, and a validator for every option, before it runs one. Here a verb
is made when it is asked for, and the few kinds of values that verbs take are read directly.
"""

from collections.abc import Callable, Iterator, MutableMapping, Sequence
from copy import copy
from difflib import get_close_matches
from enum import Enum
from functools import partial
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command_from_info, get_group_from_info

COMMON = (
    *("context", "address", "project", "region", "output", "stale", "at"),
    *("trace", "verbose", "help"),
)
"""The options that every command takes, in the order of the help."""
TOPICS = "`mulligan help` has topics: output, selection, times, contexts, environment, exit-codes"


_WHOLE = 1000


class Noun(TyperGroup):
    """A first word with verbs."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options, each with a quick reader."""
        return read_directly(super().get_params(ctx))


class Word(TyperCommand):
    """A command that is listed with the whole first sentence of its help."""

    def get_short_help_str(self, limit: int = 0) -> str:
        """Return the first sentence, which the list wraps where it is too long for a line."""
        return super().get_short_help_str(_WHOLE)


class Verb(Word):
    """A command whose help has examples, and whose values are read quickly."""

    def __init__(self, name: str | None, **attributes: Any) -> None:
        super().__init__(name, **attributes)
        self.siblings: Sequence[str] = ()
        for param in self.params:
            if param.metavar is None:
                param.metavar = metavar_of(param)

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the arguments and options, each with a quick reader."""
        return read_directly(super().get_params(ctx))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, own options, common options, examples and what else to see."""
        from mulligan.cli.examples import examples_of

        params = self.get_params(ctx)
        common = {one.name: one for one in params if one.name in COMMON and is_shared(one, self)}
        own = [one for one in params if common.get(one.name) is not one]
        parts = (
            ("Arguments", [one for one in own if one.param_type_name == "argument"]),
            ("Options", [one for one in own if one.param_type_name == "option"]),
            ("Common options", [common[name] for name in COMMON if name in common]),
        )
        for title, members in parts:
            rows = [row for one in members if (row := one.get_help_record(ctx))]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
        examples = examples_of(ctx.command_path.partition(" ")[2])
        if examples:
            with formatter.section("Examples"):
                for example in examples:
                    formatter.write(f"{'':{formatter.current_indent}}mulligan {example}\n")
        with formatter.section("See also"):
            formatter.write_text(", ".join(self.see_also(ctx)))

    def see_also(self, ctx: Any) -> list[str]:
        """Return what the end of the help points to."""
        noun = ctx.parent.command_path if ctx.parent else "mulligan"
        return [*[f"`{noun} {one}`" for one in self.siblings if one != self.name][:8], TOPICS]


def is_shared(param: Any, command: Any) -> bool:
    """Tell whether an option is the common one of its name, rather than the verb's own."""
    return param.name == "help" or param.name in getattr(command.callback, "common", ())


class Verbs(MutableMapping[str, Any]):
    """The commands of a noun by name, each made when it is first asked for."""

    def __init__(self, app: typer.Typer) -> None:
        self._makers = dict(makers(app))
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = command = self._makers[name]()
            if isinstance(command, Verb):
                command.siblings = tuple(self._makers)
        return self._made[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._makers[name] = lambda: command

    def __delitem__(self, name: str) -> None:
        del self._makers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)

    def __contains__(self, name: object) -> bool:
        return name in self._makers


def makers(app: typer.Typer) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield the name of each command of an app, and what makes it; unnamed sub-apps are merged."""
    for info in app.registered_commands:
        assert info.callback is not None
        yield info.name or info.callback.__name__, partial(_command, info)
    for group in app.registered_groups:
        assert group.typer_instance is not None
        if group.name:
            yield group.name, partial(_group, group)
        else:
            yield from makers(group.typer_instance)


def _command(info: Any) -> Any:
    info = copy(info)
    info.cls = Verb
    return get_command_from_info(info, pretty_exceptions_short=False, rich_markup_mode=None)


def _group(info: Any) -> TyperGroup:
    group = get_group_from_info(
        info, pretty_exceptions_short=False, rich_markup_mode=None, suggest_commands=True
    )
    group.commands = Verbs(info.typer_instance)
    return group


class Direct:
    """Reads one value, or each of several, as typed; raises what Typer shows as a usage error."""

    def __init__(self, read: Callable[[Any], Any]) -> None:
        self._read = read

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return what was typed for a parameter as the verb takes it."""
        several = param.multiple or param.nargs == -1
        if value is None:
            return () if several else None
        try:
            return [self._read(one) for one in value] if several else self._read(value)
        except ValueError as error:
            raise typer.BadParameter(str(error), ctx=ctx, param=param) from None


def read_directly(params: list[Any]) -> list[Any]:
    """Let parameters of the usual kinds do without a validator, and return them."""
    for param in params:
        descriptor = getattr(param, "type_descriptor", None)
        if descriptor is None or descriptor.parameter_info.parser is not None:
            continue
        read = _reader(descriptor)
        if read is not None:
            param.get_runtime_param = partial(_same, Direct(read))
    return params


def _same(value: Direct) -> Direct:
    return value


def _reader(descriptor: Any) -> Callable[[Any], Any] | None:
    kind = descriptor.annotation
    if kind == list[str] or kind is str:
        return str
    if kind is bool:
        return _flag
    if kind is int:
        info = descriptor.parameter_info
        return lambda text: _whole(text, info.min, info.max)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return lambda text: _choice(text, kind)
    return None


def _flag(value: Any) -> bool:
    text = str(value).strip().lower()
    if text in {"1", "true", "yes", "on"}:
        return True
    if text in {"0", "false", "no", "off", "", "none"}:
        return False
    raise ValueError(f"{value!r} is neither yes nor no.")


def _whole(text: Any, least: float | None, most: float | None) -> int:
    try:
        number = int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number.") from None
    if (least is not None and number < least) or (most is not None and number > most):
        bounds = f"at least {least:g}" if most is None else f"from {least or 0:g} to {most:g}"
        raise ValueError(f"{number} is not {bounds}.")
    return number


def _choice(text: Any, kind: type[Enum]) -> Enum:
    try:
        return kind(text)
    except ValueError:
        known = [str(one.value) for one in kind]
        raise ValueError(f"{text!r} is not one of {', '.join(known)}.{like(text, known)}") from None


def metavar_of(param: Any) -> str | None:
    """Return what stands for an option's value in the help; None leaves it to Typer."""
    descriptor = getattr(param, "type_descriptor", None)
    if descriptor is None or getattr(param, "is_flag", False) or descriptor.choices:
        return None
    if descriptor.annotation is int:
        return "N"
    if param.param_type_name == "argument" and param.nargs != 1:
        return None
    called = str(param.opts[-1]).lstrip("-").replace("_", "-").upper()
    return called if descriptor.annotation is not bool else None


def none_of(word: Any, known: Sequence[str]) -> str:
    """Return the complaint that a value is none of those that are known, with what is alike."""
    meant = like(word, known)
    return f"{str(word)!r} is none of {', '.join(known)}{f'.{meant}' if meant else ''}"


def like(word: Any, known: Sequence[str]) -> str:
    """Return a question whether something known was meant; nothing if nothing is alike."""
    found = get_close_matches(str(word), known, n=3)
    return f" Did you mean {' or '.join(found)}?" if found else ""
