"""What many pages take as given: a rack of machines, a project, an image."""

from tests.docs.bmcs import PASSWORD

ZEROS = "30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58"
"""The sha256 of a MiB of zeros, which every image is that pages name."""

LATE = "5647f05ec18958947d32874eeb788fa396a05d0bab7c1b71f112ceb7e9b31eee"
"""The sha256 of two MiB of zeros, of an image that is there only later."""

RACK = f"""
    mulligan provider create rack-7
    printf {PASSWORD} > bmc.password
"""
IMAGE = f"mulligan image create debian --url https://images.example/debian.iso --sha256 {ZEROS}"
CLAIM = "mulligan claim make --class machine=1 --for 2h --name build"
CLAIM_OF_NODE_1 = "mulligan claim exact node-1:machine=1 --for 2h --name build"


def enrolled(*names: str, credential: str = "bmc") -> str:
    """Return the commands that enrol machines in a rack, the first one's BMC at 192.0.2.1."""
    lines = [
        f"mulligan machine enrol {name} --bmc https://192.0.2.{number} --credential {credential}"
        " --pin --parent rack-7"
        for number, name in enumerate(names, 1)
    ]
    login = f"mulligan credential create {credential} --username root --password-file bmc.password"
    return "\n".join((RACK, login, *lines, ""))


def available(*names: str, credential: str = "bmc") -> str:
    """Return the commands after which machines can be claimed."""
    return f"""
        {enrolled(*names, credential=credential)}
        mulligan machine inspect --state enrolled --yes --wait
        mulligan machine provide --state manageable --yes --wait
    """


def project(name: str) -> str:
    """Return the commands that make a project and work in it from then on."""
    return f"""
        mulligan project create {name}
        export MULLIGAN_PROJECT={name}
    """


ETCD_OF = """sed -n '/^endpoints/s/.*"\\(.*\\)".*/\\1/p'"""
"""Prints where etcd is, of the configuration whose path comes after it."""

DAMAGED_IMAGE = f"""
    head -c 1K /dev/zero > $STATE/images/late.iso
    mulligan image create late --url file:late.iso --sha256 {LATE}
"""
RIGHT_IMAGE = "head -c 2M /dev/zero > $STATE/images/late.iso"

NODES = available("node-1", "node-2", "node-3", "node-4")
