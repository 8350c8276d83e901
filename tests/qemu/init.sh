#!/bin/busybox sh
# The guest's only process. It does what cloud-init does with a NoCloud config drive, and no more:
# it finds the medium, shows its files on the console and phones home.
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
        [ "$tries" -lt 30 ] || return 1
        sleep 0.5
    done
}

# QEMU's user network gives this address to its only guest; 10.0.2.2 is the machine that runs QEMU.
connect() {
    ifconfig lo 127.0.0.1 up
    ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up
    route add default gw 10.0.2.2
}

# Post a form as cloud-init does, ten times at most; keys that there are not are N/A.
phone_home() {
    form="instance_id=$2&hostname=${3%%.*}&fqdn=$3"
    for kind in rsa ecdsa ed25519; do
        form="$form&pub_key_$kind=N%2FA"
    done
    tries=0
    until timeout 15 wget -q -O - --post-data "$form" "$1"; do
        tries=$((tries + 1))
        [ "$tries" -lt 10 ] || return 1
        sleep 3
    done
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
    url=$(value url /seed/user-data /seed/vendor-data)
    umount /seed
    if [ -n "$url" ]; then
        connect
        if phone_home "$url" "$id" "$name"; then
            say "phoned home as $id"
        else
            say "nobody answers at $url"
        fi
    fi
else
    say "there is no config drive"
fi
say "stays up"
while :; do
    sleep 3600
done
