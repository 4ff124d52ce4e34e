#!/bin/sh
# Boots a systemd of its own, in namespaces of its own, over a copy-on-write view of this machine:
# for the tests of contrib/systemd, which tell it what to do by nsenter.
#
#     boot.sh FOLDER CGROUP     FOLDER/etc is laid over /etc, FOLDER/units are all its units
#
# It is made to leave the machine alone, though it runs as root: what is written goes to a tmpfs
# that ends with the namespaces, /sys and /proc/sys cannot be written, and no unit of the machine is
# known. It ends with 77 where the machine does not allow it. The end of this process is the end of
# all that it started.
set -eu
folder=$1

if [ "${2:-}" ]; then
    echo $$ >"$2/cgroup.procs" || exit 77
    exec unshare --mount --pid --fork --cgroup --uts --ipc --kill-child "$0" "$folder" || exit 77
fi

root=$folder/root
{
    mount --make-rprivate /
    mount -t tmpfs tmpfs "$folder/layers"
    mkdir "$folder/layers/upper" "$folder/layers/work"
    mount -t overlay -o "lowerdir=/,upperdir=$folder/layers/upper,workdir=$folder/layers/work" \
        overlay "$root"
    mount -t proc proc "$root/proc"
    mount --bind "$root/proc/sys" "$root/proc/sys"
    mount -o remount,bind,ro "$root/proc/sys"
    mount -t sysfs -o ro sysfs "$root/sys"
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs -o mode=755 tmpfs "$root/run"
    mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
    mount -t tmpfs -o mode=755 tmpfs "$root/var/lib"
} || exit 77

cp -R "$folder/etc/." "$root/etc/"
mkdir "$root/run/units" "$root/run/checks" "$root/run/haproxy"
cp -R "$folder/units/." "$root/run/units/"
cp "$folder"/checks/* "$root/run/checks/"
for program in "$folder"/bin/*; do
    touch "$root/usr/bin/${program##*/}"
    # By its name and not as a copy: a debug build is large.
    mount --bind "$(readlink -f "$program")" "$root/usr/bin/${program##*/}"
done
# What an earlier haproxystats left as root.
mkdir -p "$root/var/lib/haproxystats/incoming.tmp"
chroot "$root" systemd-sysusers haproxystats.conf
chroot "$root" systemd-tmpfiles --create haproxystats.conf
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_UNIT_PATH=/run/units \
    chroot "$root" /lib/systemd/systemd --system --unit=test.target --log-target=console
