"""Examples of every command, as the help and the man page show them; each is parsed by a test."""

from collections.abc import Sequence

EXAMPLES = """
init --state /srv/mulligan --region east
up
up --regions east,west
serve resource --config /etc/mulligan/mulligan.toml
demo
login ada --address 192.0.2.10:7001 --ca ca.pem
login ada --password-stdin
logout
logout --everywhere
passwd --secret-file new-secret
whoami
context list
context use lab
context use -
context show
context show lab -o json
context add lab --address 192.0.2.10:7001 --ca ca.pem --account ada
context edit lab --project physics
context rename lab old-lab
context delete old-lab --yes
status
status --watch
status --regions all
configure resource --log-level debug --for 10m
region list
region list --regions all
region show east
region update --parent earth --attribute power=wind
region connect west --from-context west --both-ways
region connect west --address 192.0.2.20:7001 --ca-file west.pem
region disconnect west --yes
machine list
machine list --regions all
machine list --state failed --under rack-7
machine list --watch
machine list --at -2h -o wide
machine show node-1
machine show node-1 -o json
machine why node-1
machine history node-1 --limit 20
machine actions node-1
machine wait node-1 --for available --timeout 30m
machine enrol node-1 --bmc https://192.0.2.1 --credential bmc --pin
machine enrol -f rack-7.csv --dry-run
machine scan 192.0.2.0/24 --csv rack-7.csv
machine inspect node-1 --wait
machine inspect --state enrolled --yes
machine adopt node-1 --project physics --wait
machine provide node-1 --wait
machine manage node-1
machine deploy training --image debian --wait
machine release node-1 --wait
machine release --claim training --dry-run
machine rescue node-1 --image rescue --wait
machine restore node-1 --wait
machine abort node-1
machine retry --under rack-7 --state failed --dry-run
machine power cycle node-1
machine power off --under rack-7 --dry-run
machine keep-power off node-1
machine cordon node-1 --reason "fan noise" --until 2h
machine uncordon node-1
machine retire node-1 --reason "out of warranty"
machine reinstate node-1
machine allow-logins node-1
machine update node-1 --bmc https://192.0.2.7 --pin
machine delete node-1 --reason "sold"
claim make machine=1 --for 4h
claim make -f request.yaml -q
claim make --class machine=1 --dry-run
claim exact node-1:machine=1 --for 1d
claim list
claim list --state active --watch
claim list --gantt --by provider
claim show training
claim release training
claim move training --to node-2 --reason "fan noise"
claim candidates -f request.yaml --limit 3
claim plan -f request.yaml --cordon rack-7
claim explain training
claim reshape -f reshape.yaml
reservation make --class machine=1 --start +2h --for 4h
reservation list
reservation show training
reservation extend training --by 1h
reservation shorten training --to +1h
reservation move-start training --to +3h
reservation cancel training
provider create rack-7 --type component
provider list --type machine
provider show rack-7 -o yaml
provider tree
provider update rack-7 -a power=b
provider delete rack-7
provider cordon rack-7 --note "moving"
provider uncordon rack-7
provider usage rack-7 --end +4h
inventory list storage-1
inventory set storage-1 storage.block=10TB
group create pool-a
group list
group show pool-a
group add pool-a rack-7 rack-8
group remove pool-a rack-8
group delete pool-a
capability list hw --used
distance create network local row site
distance extend network local rack row site
distance list
quota set physics machine=4 memory=1TiB --max-lease 30d
quota show physics
quota list
usage --from -7d --by project
usage --by class --project physics
image create debian --url file:debian.iso --sha256 0000 --ready-when phone-home
image list
image show debian
image delete debian
image push debian --to west
user-data create first-boot -f cloud-init.yaml
user-data list
user-data show first-boot --content
user-data delete first-boot
profile set dell --manufacturer "Dell*" --deadline deploy=2h --clean wipe
profile list
profile show dell
profile delete dell
brake list
brake release rack-7 --reason "power is back"
credential create bmc -u root --password-stdin
credential list
credential show bmc
credential rotate bmc
credential delete bmc
apply -f fleet.yaml --dry-run
apply -f fleet.yaml --yes
account create grace --password-stdin
account list
account show grace
account secret grace --password-stdin
account disable grace
account enable grace
account bind grace member --on physics
account unbind grace member --on physics
account revoke grace
account add-certificate grace --file grace.pem
account remove-certificate grace 3f9a
account delete grace
application-credential create ci --role member --expires +30d
application-credential list
application-credential delete ci
role list
project create physics
project list
project show physics
project disable physics
project enable physics
project delete physics
iam key list
iam key rotate
iam key rotate --compromised --yes
iam jwks
iam secrets rekey
iam import keystone -f keystone.yaml --dry-run
name resolve machine node-1
name describe 01920000-0000-7000-8000-000000000001
name list machine
tag add machine node-1 hot rack-7
tag remove machine node-1 hot
tag list machine node-1
metadata show machine node-1
metadata set machine node-1 owner=physics
metadata remove machine node-1 owner
metadata find --kind machine --tag hot
metadef create owner --schema '{"type": "string"}' --kind machine
metadef list
metadef show owner
metadef update owner --description "Who pays"
metadef delete owner
metadef push owner --to all
audit --from -7d --denied
audit --account ada --all -o json
log tail -n 20
log tail -f
log show machine/node-1
log stats
log verify
log verify --file log.json
log export log.json
log checkpoint
log checkpoints --limit 5
log keys
diff 2h
diff 1200 1300 --kind machine
archive list
archive status
archive seal
archive verify
archive restore --dry-run
backup secrets secrets.backup
backup etcd etcd.snapshot
certificate list
certificate renew
certificate issue ada --out client
certificate renew-ca
projection list
projection show rm_machines
projection retry rm_machines
rebuild rm_machines --verify
replay --check
completion bash
completion fish
help exit-codes
help --man
version
console
console --page log
console --at -2h
console --web --port 7080
"""
"""One a line, without ``mulligan``."""


def examples_of(path: str) -> Sequence[str]:
    """Return the examples of a command, which is named by its words, as ``machine list``."""
    return [line for line in EXAMPLES.split("\n") if f"{line} ".startswith(f"{path} ")]
