#!/bin/busybox sh
# The guest's only process: it finds the config drive, shows it on the console and phones home.
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

# The volume's label is at byte 40 of the primary descriptor, which is the 17th block of 2 KiB.
label() {
    dd if="$1" bs=1 skip=32808 count=32 2>/dev/null | tr -d '\0'
}

find_seed() {
    for device in /dev/sr* /dev/fd0 /dev/sd*; do
        [ -b "$device" ] || continue
        case "$(label "$device")" in
            cidata* | CIDATA*) mount -t iso9660 -o ro "$device" /seed && return ;;
        esac
    done
    return 1
}

# The value of a key in the files of the config drive, be they YAML or JSON.
value() {
    key=$1
    shift
    cat "$@" 2>/dev/null |
        sed -n "s/.*[\"' {]\{0,1\}$key[\"']\{0,1\}: *[\"']\{0,1\}\([^\"', }]*\).*/\1/p" | head -n 1
}

say "Linux $(uname -r) is up after $(cut -d ' ' -f 1 /proc/uptime) s"
tries=0
until find_seed; do
    tries=$((tries + 1))
    if [ "$tries" = 30 ]; then
        say "no config drive"
        break
    fi
    sleep 1
done

for file in /seed/*; do
    [ -f "$file" ] || continue
    say "$device has ${file#/seed/}:"
    cat "$file"
    echo
done

id=$(value instance-id /seed/meta-data)
name=$(value local-hostname /seed/meta-data)
url=$(value url /seed/vendor-data /seed/user-data | sed "s|\$INSTANCE_ID|$id|")
if [ -n "$url" ]; then
    ifconfig lo up
    ifconfig eth0 up
    # What QEMU's user network gives to its only guest; the host is 10.0.2.2.
    ifconfig eth0 10.0.2.15 netmask 255.255.255.0
    route add default gw 10.0.2.2
    tries=0
    until timeout 10 wget -q -O - --post-data "instance_id=$id&hostname=$name" "$url"; do
        tries=$((tries + 1))
        if [ "$tries" = 10 ]; then
            say "nobody answers at $url"
            break
        fi
        sleep 1
    done
    [ "$tries" = 10 ] || say "phoned home as $id to $url"
fi
say "stays up"
while :; do
    sleep 3600
done
