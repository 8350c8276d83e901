"""Pages about what runs a region: its hosts, keys, certificates, backups, and other regions."""

from collections.abc import Mapping

from tests.docs.given.common import CLAIM, ETCD_OF, IMAGE, available, project
from tests.docs.guide import Guide

_ADDRESS = """
    iam() { sed -n '/^iam/s/.*"\\(.*\\)".*/\\1/p' $1/config.toml; }
"""
_THREE_ETCDS = """
    set -- $(python -c 'from mulligan.embedded.ports import free_ports; print(*free_ports(6))')
    C1=$1 P1=$2 C2=$3 P2=$4 C3=$5 P3=$6 U=http://127.0.0.1
    own() { echo --listen-client-urls $U:$1 --advertise-client-urls $U:$1; }
    peer() { echo --listen-peer-urls $U:$1 --initial-advertise-peer-urls $U:$1; }
    ALL=n1=$U:$P1,n2=$U:$P2,n3=$U:$P3
    export ETCDCTL_API=3 ETCDCTL_ENDPOINTS=$U:$C1,$U:$C3
"""
_DEBIAN = "tests/packages/test_debian.py"
_CHART = "tests/packages/test_images.py"

GUIDES: Mapping[str, Guide] = {
    "how-to/back-up-and-restore": Guide(
        given=f"mkdir $HOME/backup\n{available('node-1')}{project('web')}{CLAIM}",
        instead={
            "/mnt/backup": "$HOME/backup",
            "--data-dir STATE": "--data-dir $STATE",
            "/srv/staging": "$HOME/staging",
            "s3://bucket/production": "$HOME/production",
        },
        before={
            "ETCDCTL_API=3": """
                mulligan project create after-the-snapshot
                mulligan archive seal
                stop the region
                rm -r $STATE/etcd
            """,
            "mulligan archive restore --accept-loss": """
                cp -r $STATE/etcd older
                mulligan archive restore --yes
                start the region
                mulligan project show after-the-snapshot
                stop the region
                rm -r $STATE/etcd; mv older $STATE/etcd
                mv $STATE/archive $HOME/production
            """,
            "mulligan rebuild --stale": """
                in another terminal: mulligan up
                until mulligan projection list --stale | grep halted; do sleep 0.2; done
            """,
            "mulligan init": "mulligan log verify --stale",
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
    "how-to/run-several-regions": Guide(
        region=False,
        bmcs=4,
        instead={
            "west.example:7001": "$(iam $STATE/west)",
            "west.example:7003": "$(iam $STATE/west)",
            "west-ca.pem": "$STATE/west/tls/ca.pem",
            "east.example:7001": "$(iam $STATE/east)",
        },
        before={
            "mulligan region connect west --from-context": _ADDRESS,
            "mulligan region update --parent": """
                mulligan region connect europe --address 127.0.0.1:1 \\
                    --ca-file $STATE/east/tls/ca.pem
            """,
            "mulligan machine list --regions": f"""
                mulligan region disconnect europe --yes
                {available("node-1", "node-2", "node-3")}
                mulligan --context west provider create rack-7
                mulligan --context west credential create bmc \\
                    --username root --password-file bmc.password
                mulligan --context west machine enrol node-1 \\
                    --bmc https://192.0.2.4 --credential bmc --pin
                mulligan --context west project create web
                {project("web")}
            """,
            "mulligan image push debian": IMAGE,
            "mulligan metadef push": "mulligan metadef create cost-centre",
        },
    ),
    "how-to/run-services-apart": Guide(
        instead={"/etc/mulligan/config.toml": "$HOME/apart/config.toml"},
        before={
            "mulligan serve iam": """
                in another terminal: mulligan serve projector --config $HOME/apart/config.toml
            """,
        },
        given=f"""
            export DSN=postgresql://postgres@/apart?host=$STATE/postgres
            createdb --host $STATE/postgres --user postgres apart
            mulligan init --state $HOME/apart --region east
            mulligan certificate issue m1 --state $HOME/apart --server --host 127.0.0.1 --out .
            cp $HOME/apart/tls/ca.pem ca.pem; cp ca.pem peers.pem
            cp m1.pem m1p.pem; cp m1.key m1p.key
            sed -i 's/^embedded = true/embedded = false/' $HOME/apart/config.toml
            sed -i "s#^dsn = .*#dsn = \\"$DSN\\"#" $HOME/apart/config.toml
            {_ADDRESS}
            export ETCD=https://$({ETCD_OF} $HOME/apart/config.toml)
            tr '\\n' ' ' < flags > flags-in-a-line
            in another terminal: etcd --data-dir m1 --listen-client-urls $ETCD \\
                --advertise-client-urls $ETCD --listen-peer-urls https://127.0.0.1:0 \\
                $(cat flags-in-a-line)
        """,
        files={"flags": "--client-cert-auth"},
        after="""
            until mulligan login admin --save-as apart --address $(iam $HOME/apart) --ca ca.pem \\
                --secret-file $HOME/apart/admin.secret; do sleep 1; done
            mulligan --context apart whoami
        """,
    ),
    "operations": Guide(
        region=False,
        given=f"""
            {_THREE_ETCDS}
            in another terminal: etcd --name n1 --data-dir n1 $(own $C1) $(peer $P1) \\
                --initial-cluster $ALL
            in another terminal: etcd --name n3 --data-dir n3 $(own $C3) $(peer $P3) \\
                --initial-cluster $ALL
            until etcdctl endpoint health; do sleep 0.1; done
        """,
        instead={
            "remove ID": "remove $(etcdctl member list | grep :$P2 | cut -d, -f1)",
            "https://n2.example:2380": "http://127.0.0.1:$P2",
        },
        before={"etcdctl member add": "sleep 6"},  # members count once connected for 5 s
        after="""
            eval $(grep ^ETCD_ $LAST)
            in another terminal: etcd --name n2 --data-dir n2 $(own $C2) $(peer $P2) \\
                --initial-cluster $ETCD_INITIAL_CLUSTER --initial-cluster-state=existing
            until test $(etcdctl member list | grep -c ', started') = 3; do sleep 0.1; done
            until etcdctl endpoint health --cluster; do sleep 0.1; done
        """,
    ),
    "install": Guide(
        given=f"""
            {_ADDRESS}
            printf correct-horse-battery | mulligan account create ada --password-stdin
            mulligan project create physics
            mulligan account bind ada member --on physics
            cp $STATE/tls/ca.pem ca.pem
            export ADDRESS=$(iam $STATE)
        """,
        instead={
            "mulligan.example:7001": "$ADDRESS",
            "n1.example:7001": "$ADDRESS",
        },
        asked={
            "mulligan login ada": "correct-horse-battery",
            "mulligan login admin": "$(cat $STATE/admin.secret)",
        },
        files={"config.toml": 'region = "east"'},
        elsewhere={
            "python3 -m venv": "tests/test_packaging.py",
            "/opt/mulligan": "tests/test_packaging.py",
            "apt install": _DEBIAN,
            "systemctl": _DEBIAN,
            "sudo": _DEBIAN,
            "kubectl": _CHART,
            "helm": _CHART,
            "mulligan --context east": "tests/e2e/test_regions.py",
            "mulligan --context west": "tests/e2e/test_regions.py",
        },
        after="""
            openssl verify -CAfile east/tls/ca.pem n1/n1.pem n2/n2.pem n3/n3.pem
            openssl verify -CAfile peers/tls/ca.pem n1/n1-peer.pem n2/n2-peer.pem n3/n3-peer.pem
            cp -r east/tls tls; cp n1/n1.pem n1/n1.key tls
            python -c 'import mulligan.config, pathlib; \\
                mulligan.config.load(pathlib.Path("config.toml"), {})'
        """,
    ),
}
