"""The fault proxy by hand."""

import argparse
import asyncio
import logging
import ssl
import sys
from pathlib import Path

from tests.bmc_faults.proxy import FaultProxy
from tests.bmc_faults.script import BadScript, read_script, vocabulary


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bmc_faults",
        description="Stand before a Redfish service and do to it what real BMCs do.",
        epilog=vocabulary(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--upstream", required=True, metavar="URL", help="the Redfish service")
    parser.add_argument("--script", required=True, type=Path, metavar="FILE", help="YAML or JSON")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    parser.add_argument(
        "--listen", default="127.0.0.1:0", metavar="HOST:PORT", help="default: a free port"
    )
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"), help="serve HTTPS")
    parser.add_argument(
        "--one-bmc", default="", metavar="NAME", help="all requests are to one BMC of this name"
    )
    return parser


async def _serve(arguments: argparse.Namespace) -> None:
    host, _, port = arguments.listen.rpartition(":")
    if not host or not port.isdecimal():
        raise BadScript(f"--listen {arguments.listen}: expected HOST:PORT")
    tls: ssl.SSLContext | None = None
    if arguments.tls:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(*arguments.tls)
    proxy = FaultProxy(
        arguments.upstream,
        read_script(arguments.script),
        seed=arguments.seed,
        one_bmc=arguments.one_bmc,
        listen=(host.strip("[]"), int(port)),
        tls=tls,
    )
    async with proxy:
        sys.stdout.write(f"{proxy.address}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


def main() -> int:
    """Run until interrupted."""
    arguments = _parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    try:
        asyncio.run(_serve(arguments))
    except KeyboardInterrupt:
        return 0
    except (BadScript, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
