#!/bin/bash
# Hosts on this machine: `bash ray_hosts.sh FOLDER 2 3 4` runs an sshd at 10.77.0.2, .3 and .4, each in network, process
# and mount namespaces of its own, with FOLDER/2 as home, after FOLDER/2/sshd_config. This machine is 10.77.0.1 there.
# To be run as process 1 of such namespaces itself: whatever has been started in there ends with it.
set -eu
folder=$1
shift

if [ "$1" = host ]; then
    ip link set lo up
    until ip link show "port$2" > /dev/null 2>&1; do sleep 0.05; done
    ip address add "10.77.0.$2/24" dev "port$2"
    ip link set "port$2" up
    ip route add default via 10.77.0.1 # leads nowhere; Ray asks which of its addresses would be used
    awk -F : -v OFS=: -v home="$folder/$2" '$1 == "root" { $6 = home } 1' /etc/passwd > "$folder/$2/passwd"
    mount --bind "$folder/$2/passwd" /etc/passwd # `~` is the host's own, also to ssh, which does not look at $HOME
    mount --bind "$folder/$2/tmp" "$folder/tmp" # Ray has its sockets and logs there: under one path, and for each alone
    mount -t tmpfs none /run
    mkdir /run/sshd
    exec "$(command -v sshd)" -D -e -f "$folder/$2/sshd_config"
fi

ip link set lo up
ip link add name hosts type bridge
ip address add 10.77.0.1/24 dev hosts
ip link set hosts up
for number in "$@"; do
    unshare --net --pid --mount --fork --mount-proc --kill-child bash "$0" "$folder" host "$number" &
    until [ "$(readlink "/proc/$!/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
    ip link add name "cable$number" type veth peer name "port$number"
    ip link set "cable$number" master hosts up
    ip link set "port$number" netns $!
done
for number in "$@"; do
    until nc -z "10.77.0.$number" 22; do sleep 0.05; done
done
echo ready
cat # until whoever started this closes its standard input, or is no more
