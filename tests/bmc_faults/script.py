"""Reading a script: YAML or JSON, strictly, with the line of whatever is wrong."""

import inspect
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any, get_args

import msgspec
import yaml

from tests.bmc_faults.access import Lockout, Sessions, Unauthorized
from tests.bmc_faults.answers import (
    Endless,
    Html,
    InvalidJson,
    Redirect,
    Refuse,
    Unsupported,
    WrongTypes,
)
from tests.bmc_faults.lies import (
    BootContinuous,
    Etag,
    InsertWants,
    NoActions,
    PowerFlap,
    Stale,
    StaleInsert,
)
from tests.bmc_faults.rules import Rule
from tests.bmc_faults.tasks import Task
from tests.bmc_faults.timing import Delay, Drop, FailAfter, Hang, Ignore, Trickle

Fault = (
    Delay | Trickle | Drop | Hang | FailAfter | Ignore
    | Refuse | Unsupported | Html | InvalidJson | WrongTypes | Endless | Redirect
    | Sessions | Lockout | Unauthorized
    | Stale | StaleInsert | PowerFlap | BootContinuous | InsertWants | NoActions | Etag
    | Task
)  # fmt: skip
FAULTS: tuple[type[Rule], ...] = get_args(Fault)

_AT = re.compile(r"(.*) - at `\$\.?(\w*)", re.DOTALL)


class BadScript(Exception):
    """A script cannot be used; the message names the line and the field."""


def read_script(path: Path) -> tuple[Rule, ...]:
    """Return the rules of a file; raise BadScript."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BadScript(f"{path}: {error}") from None
    return parse_script(text, str(path))


def parse_script(text: str, name: str = "script") -> tuple[Rule, ...]:
    """Return the rules of a YAML or JSON text; raise BadScript."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BadScript(f"{name}:{line}: {error.problem}") from None
    fields = _fields(root, name, "a script is an object with the field `rules`")
    unknown = [node for key, node in fields.items() if key != "rules"]
    if unknown or "rules" not in fields:
        line = _line(unknown[0] if unknown else root)
        raise BadScript(f"{name}:{line}: a script has the field `rules`, and no other")
    listed = fields["rules"]
    if not isinstance(listed, yaml.SequenceNode):
        raise BadScript(f"{name}:{_line(listed)}: `rules` is a list")
    return tuple(_rule(node, name) for node in listed.value)


def _rule(node: yaml.Node, name: str) -> Rule:
    fields = _fields(node, name, "a rule is an object with the field `fault`")
    values = {key: _value(item) for key, item in fields.items()}
    if "fault" not in values:
        raise BadScript(f"{name}:{_line(node)}: a rule needs the field `fault`")
    known = {str(fault.__struct_config__.tag): fault for fault in FAULTS}
    if values["fault"] not in known:
        raise BadScript(
            f"{name}:{_line(fields['fault'])}: unknown fault {values['fault']!r}; "
            f"known are {', '.join(sorted(known))}"
        )
    allowed = {"fault", *known[values["fault"]].__struct_fields__}
    for key, item in fields.items():
        if key not in allowed:
            raise BadScript(
                f"{name}:{_line(item)}: {values['fault']} has no field `{key}`; "
                f"it has {', '.join(sorted(allowed))}"
            )
    try:
        return msgspec.convert(values, known[values["fault"]])
    except msgspec.ValidationError as error:
        found = _AT.match(str(error))
        field, said = (found[2], found[1]) if found else ("", str(error))
        line = _line(fields.get(field, node))
        raise BadScript(f"{name}:{line}: field `{field}`: {said}") from None


def _fields(node: yaml.Node | None, name: str, wanted: str) -> dict[str, yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        raise BadScript(f"{name}:{_line(node)}: {wanted}")
    fields: dict[str, yaml.Node] = {}
    for key, value in node.value:
        if key.value in fields:
            raise BadScript(f"{name}:{_line(key)}: `{key.value}` is there twice")
        fields[str(key.value)] = value
    return fields


def _value(node: yaml.Node) -> Any:
    # Safe as yaml.safe_load is: the constructor makes plain values alone.
    maker = yaml.constructor.SafeConstructor()
    value: Hashable = maker.construct_document(node)
    return value


def _line(node: yaml.Node | None) -> int:
    return 1 if node is None else node.start_mark.line + 1


def vocabulary() -> str:
    """Return every fault with what it does and its own fields, as text."""
    lines = ["Each rule has `fault`, and may have:"]
    lines += [f"  {_field(Rule, name)}" for name in Rule.__struct_fields__]
    for fault in FAULTS:
        lines += ["", str(fault.__struct_config__.tag)]
        lines += [f"  {line}".rstrip() for line in (inspect.getdoc(fault) or "").splitlines()]
        own = [
            _field(fault, name)
            for name in fault.__struct_fields__
            if name not in Rule.__struct_fields__ or _default(fault, name) != _default(Rule, name)
        ]
        lines += [f"    {line}" for line in own]
    return "\n".join(lines)


_MEANING = {
    "bmc": "the system, manager or chassis that the path names; empty for none",
    "method": "of the request",
    "path": "of the request",
    "after": "so many matching requests pass first",
    "times": "so often at most; 0 is without end",
    "chance": "of each, 0 to 1, drawn from the seed",
    "window": "for so many seconds from the first matching request; 0 is without end",
}


def _field(fault: type[Rule], name: str) -> str:
    meaning = _MEANING.get(name, "")
    return f"{name}: {_default(fault, name)!r}" + (f"  # {meaning}" if meaning else "")


def _default(fault: type[Rule], name: str) -> Any:
    return next(f.default for f in msgspec.structs.fields(fault) if f.name == name)
