#!/bin/busybox sh
# Runs in the guest of kernel.mjs: as /init from the first file system, which has the modules for
# the second one, and from there as its /init, with the plan to run.
#
# It tells a line for each begin and end of a part, with what the part says between them, to the
# port that the harness listens to. The console is the kernel's own.

if [ "$1" != again ]; then
  busybox=/bin/busybox
  while read -r module; do $busybox insmod "/modules/$module" || exit; done </modules/order
  $busybox mount -t devtmpfs dev /dev
  $busybox mount -t ext4 /dev/vda /disk || exit
  $busybox umount /dev
  exec $busybox switch_root /disk /init again
fi

/bin/busybox --install -s /bin
export PATH=/bin HOME=/root
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs -o mode=1777 tmp /tmp
ln -s /proc/self/fd /dev/fd
hostname guest
# The port comes up a little later than its driver.
until [ -c /dev/vport*p1 ]; do usleep 50000; done
# Who waits for the boot hears at once that it came this far.
exec </dev/null >"$(echo /dev/vport*p1)"
echo "@kernel $(uname -r) up $(cut -d ' ' -f 1 /proc/uptime)"

# part NAME SECONDS COMMAND...: what the command says on stderr follows, behind bars.
part() {
  name=$1
  limit=$2
  shift 2
  echo "@begin $name"
  begun=$(cut -d . -f 1 /proc/uptime)
  cd /data || return
  timeout -s KILL "$limit" "$@" 2>/var/stderr
  status=$?
  echo
  tail -n 400 /var/stderr | sed 's/^/| /'
  echo "@end $name $status $(($(cut -d . -f 1 /proc/uptime) - begun))"
  rm -rf /data/* /tmp/*
}

export TMPDIR=/data LITTORAL_TEST_PLACE=/data RUST_BACKTRACE=0
. /plan
echo "@done"
sync
poweroff -f
