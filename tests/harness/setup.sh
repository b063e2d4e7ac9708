#!/usr/bin/env bash
# Brings a machine to the state that build.sh needs, and does nothing when it is there already.
#
#   setup.sh [--check] GROUP...
#
# Groups: base (compiler, node, npm packages), web (wasm target, wasm-bindgen), browser and firefox
# (the browsers themselves), gates (what counts instructions), bench (what is measured beside),
# oldest (the lowest Rust that is promised, if rustup has it), and emulator (what boots another
# kernel). What the caller must know goes to stdout as NAME=VALUE lines, talk goes to stderr. With
# --check nothing is changed. What is missing and cannot be installed from here ends the script with
# status 3 and one line that says what to install, as MISSING=… on stdout too.
#
# Why caches are built aside and then renamed: a run may be killed at any time. A folder under its
# final name is complete, anything else is rubbish and thrown away by the next run.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=${XDG_CACHE_HOME:-${HOME:?no HOME, so no folder for caches}/.cache}/littoral
check=no
groups=()
for word in "$@"; do
  case $word in
    --check) check=yes ;;
    base | web | browser | firefox | gates | bench | oldest | emulator) groups+=("$word") ;;
    *)
      echo "setup.sh: unknown group: $word" >&2
      exit 2
      ;;
  esac
done
wants() { [[ " ${groups[*]} " == *" $1 "* ]]; }

say() { echo "setup: $*" >&2; }
missing() {
  say "missing: $*"
  echo "MISSING=$*"
  exit 3
}

# A step that broke (no network, disk full) means that its product is missing: never status 1,
# which would say that the project gave a wrong result.
step="set-up"
ended() {
  local status=$?
  [[ $status == 0 || $status == 3 ]] || missing "$step failed, see above; then run it again"
}
trap ended EXIT

# --- packages of the system -------------------------------------------------------------------

# Whether one of the comma-separated proofs of a package holds.
proven() { # package proofs lowest-version
  local proof version
  for proof in ${2//,/ }; do
    case $proof in
      dpkg) [[ $(dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null) == ii* ]] || continue ;;
      /*) [[ -e $proof ]] || continue ;;
      *) command -v "$proof" >/dev/null || continue ;;
    esac
    [[ $3 != - ]] || return 0
    version=$("$proof" --version 2>/dev/null | grep -oE '[0-9]+' | head -n 1 || true)
    [[ ${version:-0} -lt $3 ]] || return 0
  done
  return 1
}

# The packages of the given groups that are not there, one a line.
absent() {
  local group package proof from
  while read -r group package proof from; do
    [[ -n $group && $group != '#'* ]] || continue
    [[ " $* " == *" $group "* ]] || continue
    proven "$package" "$proof" "$from" || echo "$package"
  done <"$here/debian-packages.txt"
}

# Has apt-get know what there is now, if this user may.
refresh() {
  local as=()
  ((EUID == 0)) || as=(sudo -n)
  "${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update --quiet --quiet >&2 || true
}

install_packages() { # groups
  local packages command
  mapfile -t packages < <(absent "$@")
  ((${#packages[@]})) || return 0
  command="apt-get install --yes --no-remove --no-install-recommends ${packages[*]}"
  if [[ $check == yes || ! -e /etc/debian_version ]] || ! command -v apt-get >/dev/null; then
    missing "${packages[*]}; on Debian: sudo $command"
  fi
  local as=()
  if ((EUID != 0)); then
    sudo -n true 2>/dev/null || missing "${packages[*]}; run: sudo $command"
    as=(sudo -n)
  fi
  say "installing ${packages[*]}"
  refresh
  # shellcheck disable=SC2086 # the command is a list of words
  "${as[@]}" env DEBIAN_FRONTEND=noninteractive $command </dev/null >&2 ||
    missing "${packages[*]}; apt-get could not install them, see above"
  mapfile -t packages < <(absent "$@")
  ((${#packages[@]} == 0)) ||
    missing "${packages[*]}: what Debian has is older than debian-packages.txt asks for"
}

# --- things built into the cache --------------------------------------------------------------

# Makes the folder $cache/NAME by running COMMAND with the path of an empty folder to fill.
cached() { # name command...
  local name=$1 aside
  shift
  [[ ! -d $cache/$name ]] || return 0
  [[ $check == no ]] || missing "$cache/$name; run: ./build.sh setup"
  step="making $cache/$name"
  mkdir -p "$cache"
  (
    # One builder at a time; the others find the folder made when the lock is theirs.
    if command -v flock >/dev/null; then
      exec 9>"$cache/lock"
      flock 9
    fi
    [[ ! -d $cache/$name ]] || exit 0
    rm -rf "$cache/$name".partial.*
    aside=$cache/$name.partial.$$
    mkdir "$aside"
    "$@" "$aside" 9>&- >&2
    mv "$aside" "$cache/$name"
  )
}

rust_key() { rustc -V | tr -cs 'a-zA-Z0-9.\n' '-' | sed 's/-*$//'; }
hash_of() { cat "$@" | sha256sum | cut -c 1-16; }

npm_packages() { # folder
  say "npm packages of tests/harness/package-lock.json"
  cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$1"
  (cd "$1" && npm ci --ignore-scripts --no-progress --loglevel=error)
}

# About 95 s on 2 cores: unoptimised but for the parts that do the work.
bindgen() { # folder
  local options=(--config profile.dev.debug=false) package
  for package in walrus wasmparser wasm-encoder wasm-bindgen-cli-support hashbrown gimli id-arena \
    rustc-demangle leb128fmt foldhash indexmap; do
    options+=(--config "profile.dev.package.$package.opt-level=1")
  done
  say "building wasm-bindgen $bindgen_version, about two minutes, once"
  # RUSTC and RUSTFLAGS may be set for the project; this tool is the host's.
  env -u RUSTC -u RUSTDOC -u RUSTFLAGS CARGO_TARGET_DIR="$1/target" cargo install --quiet --debug \
    --root "$1" --version "=$bindgen_version" --no-default-features --bin wasm-bindgen \
    "${options[@]}" wasm-bindgen-cli
  rm -rf "$1/target"
}

# Debian's packages, unpacked: tried once more with a fresh list of what there is.
from_debian() { # words of emulator.sh... folder
  bash "$here/emulator.sh" "$@" && return 0
  refresh
  find "${!#}" -mindepth 1 -delete
  bash "$here/emulator.sh" "$@"
}

wasm_sysroot() { bash "$here/wasm-sysroot.sh" "$1"; }

# --- the groups -------------------------------------------------------------------------------

# The lowest version of Rust that the manifest promises.
oldest=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$root/Cargo.toml")
[[ -n $oldest ]] || missing "rust-version in Cargo.toml"

packages=()
for group in base browser firefox gates bench emulator; do
  if wants "$group"; then packages+=("$group"); fi
done
install_packages "${packages[@]}"

if wants base; then
  if ! command -v cargo >/dev/null || ! command -v rustc >/dev/null; then
    missing "Rust $oldest or newer; install it with rustup (package rustup, or rustup.rs)"
  fi
  # Cargo would say so as well, for each package and in other words.
  version=$(rustc -V | cut -d ' ' -f 2)
  lower=$(printf '%s\n' "$oldest" "${version%%-*}" | sort --version-sort | head -n 1)
  if [[ $lower != "$oldest" ]]; then
    missing "Rust $oldest or newer, this is $version; run: rustup update stable"
  fi
  for tool in fmt clippy; do
    cargo "$tool" --version >/dev/null 2>&1 && continue
    component=${tool/#fmt/rustfmt}
    if [[ $check == yes ]] || ! rustup component add "$component" >&2; then
      missing "cargo $tool; run: rustup component add $component"
    fi
  done
  node_packages=npm-$(hash_of "$here/package.json" "$here/package-lock.json")
  cached "$node_packages" npm_packages
  # Node looks for packages beside the program: a link is all that stands in the tree.
  if [[ ! $here/node_modules -ef $cache/$node_packages/node_modules ]]; then
    [[ $check == no ]] || missing "tests/harness/node_modules; run: ./build.sh setup"
    rm -rf "$here/node_modules"
    ln -s "$cache/$node_packages/node_modules" "$here/node_modules"
  fi
fi

if wants web; then
  # LITTORAL_WASM_STD=debian forces the second way, so that it can be tested where the first works.
  libdir=$(rustc --print target-libdir --target wasm32-unknown-unknown)
  if [[ ${LITTORAL_WASM_STD:-} != debian ]] && ! compgen -G "$libdir/libstd-*.rlib" >/dev/null; then
    [[ $check == no ]] || missing "a compiler target; run: rustup target add wasm32-unknown-unknown"
    say "adding the target wasm32-unknown-unknown"
    rustup target add wasm32-unknown-unknown >&2 || LITTORAL_WASM_STD=debian
  fi
  if [[ ${LITTORAL_WASM_STD:-} == debian ]]; then
    install_packages web-rust
    sysroot=wasm-std-$(dpkg-query -W -f '${Version}' rustc-web | tr -cs 'a-zA-Z0-9.\n' '-')
    cached "$sysroot" wasm_sysroot
    echo "WASM_RUSTC=$cache/$sysroot/bin/rustc"
    echo "WASM_RUSTDOC=$cache/$sysroot/bin/rustdoc"
  fi
  # The tool must be of the very version that the library in the page is.
  bindgen_version=$(sed -n '/^name = "wasm-bindgen"$/{n;s/^version = "\(.*\)"$/\1/p}' \
    "$root/Cargo.lock")
  [[ -n $bindgen_version ]] || missing "wasm-bindgen in Cargo.lock"
  tool=wasm-bindgen-$bindgen_version-$(rust_key)
  cached "$tool" bindgen
  echo "WASM_BINDGEN=$cache/$tool/bin/wasm-bindgen"
fi

# A machine without rustup, or without its server, checks with the one compiler it has.
if wants oldest; then
  toolchain=$oldest.0
  step="asking for Rust $toolchain"
  if command -v rustup >/dev/null; then
    if [[ $check == no ]] && ! rustc "+$toolchain" -V >/dev/null 2>&1; then
      say "installing Rust $toolchain, the lowest that Cargo.toml promises"
      rustup toolchain install "$toolchain" --profile minimal \
        --target wasm32-unknown-unknown >&2 || say "rustup cannot install it"
    fi
    if rustc "+$toolchain" -V >/dev/null 2>&1; then echo "OLDEST_RUST=$toolchain"; fi
    libdir=$(rustc "+$toolchain" --print target-libdir --target wasm32-unknown-unknown || true)
    if compgen -G "$libdir/libstd-*.rlib" >/dev/null; then echo "OLDEST_RUST_WASM=yes"; fi
  fi
fi

# An emulator that is installed is used; the kernel comes from Debian, whatever runs here.
if wants emulator; then
  [[ $(uname -s) == Linux && $(uname -m) == x86_64 ]] || missing "Linux on x86-64, to build for it"
  linux=6.1
  if ! command -v apt-get >/dev/null; then
    absent=()
    command -v qemu-system-x86_64 >/dev/null || [[ -d $cache/debian-qemu ]] ||
      absent+=("qemu-system-x86_64 (package qemu-system-x86)")
    [[ -d $cache/debian-linux-$linux ]] || absent+=("Debian's kernel $linux")
    ((${#absent[@]} == 0)) || missing "$(printf '%s, ' "${absent[@]}")and apt-get to fetch it"
  fi
  if command -v qemu-system-x86_64 >/dev/null; then
    echo "QEMU=qemu-system-x86_64"
  else
    # It leans on libraries that were installed when it was fetched, and may be gone.
    if [[ $check == no && -d $cache/debian-qemu ]]; then
      "$cache/debian-qemu/qemu" --version >/dev/null 2>&1 || rm -rf "$cache/debian-qemu"
    fi
    cached debian-qemu from_debian qemu
    echo "QEMU=$cache/debian-qemu/qemu"
  fi
  cached "debian-linux-$linux" from_debian linux "$linux"
  echo "LINUX=$cache/debian-linux-$linux"
fi
