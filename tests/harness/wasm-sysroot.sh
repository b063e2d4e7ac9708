#!/usr/bin/env bash
# Fills an empty folder with a Rust compiler that knows wasm32-unknown-unknown, made of Debian's
# packages: for machines where rustup cannot add the target. Called by setup.sh; takes a minute or
# two.
#
#   wasm-sysroot.sh FOLDER
#
# Debian ships a compiler, its sources and std for the host, but no std for this target. So std is
# built once with the compiler's own build-std, its libraries are laid out as a sysroot, and two
# wrappers start Debian's tools on that sysroot. With RUSTC and RUSTDOC set to the wrappers, plain
# `cargo build --target wasm32-unknown-unknown` works and needs no unstable flag.
#
# Why wrappers: through a bare symbolic link rustc finds the sysroot of the file behind the link.
set -euo pipefail

folder=$1
target=wasm32-unknown-unknown
# By full path: rustup's tools of the same names usually come first in PATH, and are of another
# version, which cannot build these sources.
rustc=/usr/bin/rustc
cargo=/usr/bin/cargo
host=$("$rustc" -vV | sed -n 's/^host: //p')
system=$("$rustc" --print sysroot)

# --- build std for the target -----------------------------------------------------------------

empty=$folder/empty
mkdir -p "$empty/src"
printf '[package]\nname = "empty"\nversion = "0.0.0"\nedition = "2024"\n[workspace]\n' \
  >"$empty/Cargo.toml"
printf '#![no_std]\n' >"$empty/src/lib.rs"
# `test` is what `cargo test` for the target links against.
(
  cd "$empty"
  env -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS -u RUSTUP_TOOLCHAIN RUSTC_BOOTSTRAP=1 RUSTC="$rustc" \
    CARGO_TARGET_DIR="$empty/target" \
    "$cargo" build --quiet --release --target "$target" -Zbuild-std=std,panic_abort,test
)

# --- lay it out as a sysroot ------------------------------------------------------------------

lib=$folder/sysroot/lib/rustlib
mkdir -p "$lib/$target/lib" "$lib/$host/bin" "$folder/bin"
cp "$empty/target/$target/release/deps/"*.rlib "$lib/$target/lib/"
rm "$lib/$target/lib/"libempty-*.rlib
rm -r "$empty"
# Build scripts and procedural macros run on the host and need its libraries.
ln -s "$system/lib/rustlib/$host/lib" "$lib/$host/lib"

# The linker for wasm: whichever there is. rustc asks for one named rust-lld in this place.
linker=
for candidate in "$system/lib/rustlib/$host/bin/rust-lld" \
  "${RUSTUP_HOME:-$HOME/.rustup}"/toolchains/*/lib/rustlib/"$host"/bin/rust-lld \
  /usr/bin/rust-lld /usr/bin/wasm-ld /usr/bin/wasm-ld-* /usr/bin/lld /usr/bin/lld-*; do
  if [[ -x $candidate ]]; then
    linker=$(readlink -f "$candidate")
    break
  fi
done
[[ -n $linker ]] || {
  echo "wasm-sysroot: no linker for wasm; install the package lld" >&2
  exit 1
}
ln -s "$linker" "$lib/$host/bin/rust-lld"

# The wrappers find the sysroot from their own place, because the caller renames the folder.
for tool in rustc rustdoc; do
  cat >"$folder/bin/$tool" <<EOF
#!/bin/sh
exec /usr/bin/$tool --sysroot="\$(dirname "\$(readlink -f "\$0")")/../sysroot" "\$@"
EOF
  chmod +x "$folder/bin/$tool"
done
