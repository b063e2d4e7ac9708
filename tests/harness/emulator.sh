#!/usr/bin/env bash
# Fetches what boots another kernel: Debian's packages, unpacked into a folder and not installed.
#
#   emulator.sh qemu FOLDER            the emulator, started by FOLDER/qemu
#   emulator.sh linux VERSION FOLDER   Debian's newest kernel of that version, with the modules and
#                                      the tools that a guest of ours needs
#
# Why not installed: a kernel's package would have this machine boot it, the emulator's may be at
# odds with a package from elsewhere, and neither needs root then.
set -euo pipefail

# Modules of the guest: its disk, the file system on it, and the line its results come by.
modules=(virtio_pci virtio_blk virtio_console crc32c_generic ext4)

say() { echo "emulator.sh: $*" >&2; }

# Downloads packages into the current folder and unpacks them there.
unpack() { # packages...
  local each
  say "downloading $*"
  apt-get download --quiet "$@" >&2
  for each in ./*.deb; do dpkg --extract "$each" . && rm "$each"; done
}

qemu() {
  local packages libraries
  # What apt-get would install beside what is here.
  packages=$(apt-get install --simulate --no-install-recommends qemu-system-x86 |
    sed -n 's/^Inst \([^ ]*\).*/\1/p')
  # shellcheck disable=SC2086 # a list of words
  unpack $packages
  libraries=$(find . -name '*.so*' -printf '$here/%h\n' | sort -u | paste -sd :)
  cat >qemu <<EOF
#!/bin/sh
here=\$(dirname "\$(readlink -f "\$0")")
export LD_LIBRARY_PATH=$libraries
cd "\$here/usr/share" && exec ../bin/qemu-system-x86_64 -L qemu -L seabios "\$@"
EOF
  chmod +x qemu
  ./qemu --version >&2
}

linux() { # version
  local package release tree busybox each
  package=$(apt-cache pkgnames "linux-image-$1." |
    { grep -E "^linux-image-$1[0-9.-]+-amd64\$" || true; } | sort --version-sort | tail -n 1)
  if [[ -z $package ]]; then
    say "Debian has no linux-image-$1 for this release; Debian 12 has 6.1"
    return 1
  fi
  unpack "$package" busybox-static
  release=${package#linux-image-}
  tree=lib/modules/$release
  busybox=./bin/busybox
  [[ -x $busybox ]] || busybox=./usr/bin/busybox
  [[ -d $tree ]] || { mkdir -p lib && mv usr/lib/modules lib/; }
  "$busybox" depmod -b "$PWD" "$release"
  mkdir modules
  # Each behind those that it needs, which the line names from the last one to the first.
  for each in "${modules[@]}"; do
    sed -n "s,^\(.*/$each\.ko[.a-z]*\):\(.*\),\1\2,p" "$tree/modules.dep" | tr ' ' '\n' | tac
  done | awk '!seen[$0]++' >needed
  while read -r each; do
    cp "$tree/$each" modules/
    basename "$each" >>modules/order
  done <needed
  mv "boot/vmlinuz-$release" vmlinuz
  mv "$busybox" busybox
  echo "$release" >release
  rm -rf bin boot etc lib usr needed
}

cd "${!#}"
case $1 in
  qemu) qemu ;;
  linux) linux "$2" ;;
  *)
    say "unknown: $1"
    exit 2
    ;;
esac
