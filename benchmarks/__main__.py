"""``python -m benchmarks NAME …`` runs ``benchmarks.NAME``.

A benchmark module has ``add_arguments(parser)`` and ``run(args) -> dict`` of figures.
"""

import argparse
import json
import pkgutil
from importlib import import_module
from pathlib import Path

import benchmarks


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=benchmarks.__doc__)
    names = parser.add_subparsers(dest="name", required=True)
    for module in pkgutil.iter_modules(benchmarks.__path__):
        if module.name.startswith("_"):
            continue
        benchmark = import_module(f"benchmarks.{module.name}")
        if not hasattr(benchmark, "add_arguments"):
            continue
        sub = names.add_parser(module.name, description=benchmark.__doc__)
        sub.add_argument("--json", type=Path, help="also write the figures to this file")
        benchmark.add_arguments(sub)
        sub.set_defaults(run=benchmark.run)
    args = parser.parse_args()
    line = json.dumps(args.run(args))
    if args.json:
        args.json.write_text(line + "\n")
    print(line)


if __name__ == "__main__":
    main()
