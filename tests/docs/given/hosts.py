"""Pages about what runs a region: its hosts, keys, certificates, backups, and other regions."""

from collections.abc import Mapping

from tests.docs.given.common import CLAIM, available, project
from tests.docs.guide import Guide

GUIDES: Mapping[str, Guide] = {
    "how-to/back-up-and-restore": Guide(
        given=f"mkdir $HOME/backup\n{available('node-1')}{project('web')}{CLAIM}",
        instead={
            "/mnt/backup": "$HOME/backup",
            "--data-dir STATE": "--data-dir $STATE",
            "/srv/staging": "$HOME/staging",
            "s3://bucket/production": "$STATE/archive",
        },
        before={
            "mulligan archive restore --dry-run": """
                mulligan archive seal
                stop the region
                rm -r $STATE/etcd
            """,
        },
        bmcs=1,
    ),
    "how-to/boot-a-virtual-machine": Guide(
        elsewhere={"nox -s qemu": "tests/qemu/test_provisioning.py"}, region=False
    ),
    "how-to/renew-certificates": Guide(instead={"/run/keys": "$HOME/keys"}),
    "how-to/rotate-keys": Guide(
        before={
            "mulligan iam secrets rekey": """
                cp $STATE/secrets.key old.key
                (head -c 32 /dev/urandom | base64; cat old.key) > $STATE/secrets.key
            """,
        },
    ),
}
