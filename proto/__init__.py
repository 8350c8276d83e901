"""The gRPC interface: the ``.proto`` files of ``mulligan.v1`` and what is generated from them.

``proto/_generated`` is written by ``generate`` and by nothing else. Only the edges import this
package (the services, the client and the command line); nothing that decides or folds does.
"""

import sys
from types import ModuleType

assert __name__ == "mulligan.proto", "import it as mulligan.proto"


def _import_messages() -> None:
    """Import betterproto2 without what it imports for a purpose that is not ours.

    That is pydantic, for messages of another kind, which takes every command an eighth of its time;
    and importlib.metadata, to compare its version with the compiler's, which takes a twentieth. The
    tests compare them.
    """
    away: dict[str, ModuleType | None] = {"betterproto2._version": _any_version(), "pydantic": None}
    away = {name: module for name, module in away.items() if name not in sys.modules}
    sys.modules.update(away)  # type: ignore[arg-type]
    try:
        import betterproto2  # noqa: F401
    finally:
        for name in away:
            del sys.modules[name]


def _any_version() -> ModuleType:
    version = ModuleType("betterproto2._version")
    vars(version).update(__version__="", check_compiler_version=lambda compiler: None)
    return version


_import_messages()
