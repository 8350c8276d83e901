#!/bin/busybox sh
# The guest's only process. It finds its NoCloud config drive and shows the files on the console.
# Then it phones home, as cloud-init does; or, where it is asked to, it wipes disks and reports that.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
for module in /modules/*.ko; do
    insmod "$module"
done

say() {
    echo "guest: $*"
}

# The volume's label is at byte 40 of the primary descriptor, the 17th block of 2 KiB.
label() {
    dd if="$1" bs=1 skip=32808 count=32 2>/dev/null | tr -d ' \0'
}

find_seed() {
    for device in /dev/sr* /dev/fd0 /dev/sd?; do
        if [ -b "$device" ] && [ "$(label "$device")" = cidata ]; then
            mount -t iso9660 -o ro "$device" /seed && return
        fi
    done
    return 1
}

# The value of a key, the first argument, in files of YAML or JSON.
value() {
    key=$1
    shift
    cat "$@" 2>/dev/null |
        sed -nE "s/^(.*[^a-z_-])?$key[\"']?: *[\"']?([^\"', }]*).*/\2/p" | head -n 1
}

# Drivers need a moment to find their devices.
wait_for_seed() {
    tries=0
    until find_seed; do
        tries=$((tries + 1))
        [ "$tries" -lt 20 ] || return 1
        sleep 0.5
    done
}

# QEMU's user network gives this address to its only guest; 10.0.2.2 is the machine that runs QEMU.
connect() {
    ifconfig lo 127.0.0.1 up
    ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up
    route add default gw 10.0.2.2
}

# Post a body, ten times at most, as often as cloud-init does.
post() {
    tries=0
    until timeout 15 wget -q -O - --post-data "$2" "$1"; do
        tries=$((tries + 1))
        if [ "$tries" = 10 ]; then
            say "nobody answers at $1"
            return 1
        fi
        sleep 3
    done
}

# Keys that there are not are N/A.
phone_home() {
    form="instance_id=$2&hostname=${3%%.*}&fqdn=$3"
    for kind in rsa ecdsa ed25519; do
        form="$form&pub_key_$kind=N%2FA"
    done
    post "$1" "$form"
}

serial() {
    tail -c +5 "/sys/block/$1/device/vpd_pg80" | tr -d ' \0'
}

# Fill a disk with zeros, and tell what came of it in JSON.
wipe() {
    dd if=/dev/zero of="/dev/$1" bs=1M 2>/dev/null
    sync
    echo 3 >/proc/sys/vm/drop_caches
    verified=false
    [ -n "$(tr -d '\0' <"/dev/$1" | head -c 1)" ] || verified=true
    bytes=$(($(cat "/sys/block/$1/size") * 512))
    echo "{\"serial\": \"$(serial "$1")\", \"method\": \"zeros\"," \
        "\"bytes\": $bytes, \"verified\": $verified}"
}

# Wipe the disks with the serial numbers given, all of them when there is none, and report to $1.
wipe_disks() {
    report=$1
    shift
    disks=
    for path in /sys/block/sd*; do
        disk=${path##*/}
        case " $* " in
            "  " | *" $(serial "$disk") "*) disks="${disks:+$disks, }$(wipe "$disk")" ;;
        esac
    done
    post "$report" "{\"disks\": [$disks]}"
}

say "Linux $(uname -r) is up after $(cut -d ' ' -f 1 /proc/uptime) s"
if wait_for_seed; then
    for file in /seed/*; do
        say "$device has ${file#/seed/}:"
        cat "$file"
        echo
    done
    id=$(value instance-id /seed/meta-data)
    name=$(value local-hostname /seed/meta-data)
    home=$(value url /seed/user-data /seed/vendor-data)
    report=$(value report_url /seed/mulligan-wipe.json)
    wanted=$(sed -n '/"disks"/,/]/s/^ *"\([^"]*\)",\{0,1\}$/\1/p' /seed/mulligan-wipe.json 2>/dev/null)
    umount /seed
    connect
    if [ -n "$report" ]; then
        # shellcheck disable=SC2086 # one word for each serial number
        wipe_disks "$report" $wanted && say "reported the wipe"
    elif [ -n "$home" ]; then
        phone_home "$home" "$id" "$name" && say "phoned home as $id"
    fi
else
    say "there is no config drive"
fi
say "stays up"
while :; do
    sleep 3600
done
