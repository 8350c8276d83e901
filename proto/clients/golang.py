"""The Go client, but for its messages: typed methods, tables, figures, and the core."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from mulligan.proto.clients.figures import Figure
from mulligan.proto.clients.interface import PACKAGE, Method, Service
from mulligan.proto.clients.plugins import GO_MESSAGES, GO_MODULE
from mulligan.proto.clients.typescript import GENERATED, SECONDS, every_name


def sources(
    services: Sequence[Service], figures: Mapping[str, Figure], templates: Path
) -> dict[str, str]:
    """Return the texts of the Go package by path."""
    core = {path.name: _core(path) for path in sorted((templates / "go").glob("*.go"))}
    return core | {
        "figures.go": _figures(figures),
        "tables.go": _tables(services),
        "services.go": _services(services),
    }


def _core(path: Path) -> str:
    text = path.read_text().replace("@MESSAGES@", f"{GO_MODULE}/{GO_MESSAGES}")
    return _header(f"proto/clients/templates/go/{path.name}") + text.replace("@PACKAGE@", PACKAGE)


def _header(of: str = "the .proto files") -> str:
    # Go's tools know generated code by this form of the first line.
    generator = GENERATED.removeprefix("Generated ")
    return f"// Code generated {generator} from {of}. DO NOT EDIT.\n\n"


def _figures(figures: Mapping[str, Figure]) -> str:
    rows = []
    durations = False
    for name, figure in figures.items():
        local = _camel(name.removesuffix("_S"))
        value = json.dumps(figure)
        if name in SECONDS:
            value = f"{round(float(figure) * 1000)} * time.Millisecond"
            durations = True
        rows.append((f"figure{local}", value))
    width = max(len(name) for name, _ in rows)
    lines = "".join(f"\t{name:<{width}} = {value}\n" for name, value in rows)
    imports = 'import "time"\n\n' if durations else ""
    return f"{_header('mulligan/client')}package mulligan\n\n{imports}const (\n{lines})\n"


def _tables(services: Sequence[Service]) -> str:
    texts = "service, permission, resume"
    flags = "reads, requestID, freshness, position, streaming, endless"
    rows = "".join(
        f"\t{json.dumps(method.route)}: {{\n\t\t{', '.join(_facts(method))},\n\t}},\n"
        for service in services
        for method in service.methods
    )
    return (
        _header()
        + "package mulligan\n\n"
        + "// facts are what the routing core goes by, of one method.\n"
        + "type facts struct {\n"
        + f"\t{texts:<{len(flags)}} string\n"
        + f"\t{flags} bool\n"
        + "}\n\n"
        + "// methods holds every method by its route.\n"
        + f"var methods = map[string]facts{{\n{rows}}}\n"
    )


def _facts(method: Method) -> list[str]:
    flags = {
        "reads": method.reads,
        "requestID": method.request_id,
        "freshness": method.freshness,
        "position": method.position,
        "streaming": method.streaming,
        "endless": method.endless,
    }
    texts = {
        "service": method.service.lower(),
        "permission": method.permission,
        "resume": method.resume,
    }
    return [f"{name}: {json.dumps(text)}" for name, text in texts.items() if text] + [
        f"{name}: true" for name, holds in flags.items() if holds
    ]


def _services(services: Sequence[Service]) -> str:
    width = max(len(service.name) for service in services)
    fields = "".join(f"\t{one.name:<{width}} *{one.name}\n" for one in services)
    made = "".join(
        f"\t\t{one.name + ':':<{width + 1}} &{one.name}{{calls: calls}},\n" for one in services
    )
    return (
        _header()
        + "package mulligan\n\n"
        + f'import (\n\t"context"\n\n\tv1 "{GO_MODULE}/{GO_MESSAGES}"\n)\n\n'
        + "// Services are the services of a region.\n"
        + f"type Services struct {{\n{fields}}}\n\n"
        + f"func newServices(calls *calls) Services {{\n\treturn Services{{\n{made}\t}}\n}}\n"
        + "".join(_service(service) for service in services)
    )


def _service(service: Service) -> str:
    told = f" {service.comment}" if service.comment else " makes the service's calls."
    return (
        f"\n// {service.name}:{told}\n"
        + f"type {service.name} struct{{ calls *calls }}\n"
        + "".join(_method(method) for method in service.methods)
    )


def _method(method: Method) -> str:
    told = f": {method.comment}" if method.comment else f" calls {method.service}.{method.name}."
    takes = f"ctx context.Context, request *v1.{method.request}"
    start = f"\n// {method.name}{told}\nfunc (s *{method.service}) {method.name}({takes})"
    route = json.dumps(method.route)
    if method.streaming:
        return (
            f"{start} *Stream[*v1.{method.reply}] {{\n"
            + f"\treturn stream(ctx, s.calls, {route}, request, "
            + f"func() *v1.{method.reply} {{ return new(v1.{method.reply}) }})\n}}\n"
        )
    written = (
        f"{start} (*v1.{method.reply}, error) {{\n"
        + f"\treturn unary(ctx, s.calls, {route}, request, new(v1.{method.reply}))\n}}\n"
    )
    return written + (_every(method) if method.items else "")


def _every(method: Method) -> str:
    assert method.items is not None
    name, item = every_name(method), f"*v1.{method.items.message}"
    takes = f"ctx context.Context, request *v1.{method.request}, limit int"
    return (
        f"\n// {name} goes through every page of {method.name}, "
        + "or the first items up to a limit above 0.\n"
        + f"func (s *{method.service}) {name}({takes}) *Items[{item}] {{\n"
        + "\tpaged := copyOf(request)\n"
        + f"\treturn newItems(limit, func(page *v1.Page) ([]{item}, string, error) {{\n"
        + "\t\tpaged.Page = page\n"
        + f"\t\tanswer, err := s.{method.name}(ctx, paged)\n"
        + f"\t\treturn answer.Get{_camel(method.items.field)}(), "
        + "answer.GetNextPageToken(), err\n"
        + "\t})\n}\n"
    )


def _camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))
