"""The gRPC interface: the ``.proto`` files of ``mulligan.v1`` and what is generated from them.

``proto/_generated`` is written by ``generate`` and by nothing else. Only the edges import this
package (the services, the client and the command line); nothing that decides or folds does.
"""

import sys

assert __name__ == "mulligan.proto", "import it as mulligan.proto"


def _import_messages() -> None:
    """Import betterproto2 as if there were no pydantic.

    It would import pydantic to support messages of another kind than ours, which takes every
    command an eighth of its time.
    """
    if "pydantic" in sys.modules:
        return
    sys.modules["pydantic"] = None  # type: ignore[assignment]
    try:
        import betterproto2  # noqa: F401
    finally:
        del sys.modules["pydantic"]


_import_messages()
