# Shared by the scripts beside it: finds the project, installs what a build needs, builds. Sourced, not run.
# shellcheck shell=bash

# What the caller gave as relative paths is meant from here.
caller_folder=$PWD
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

# CI keeps one target folder for all checkouts: RocksDB takes a quarter of an hour to compile.
if [ -n "${CI:-}" ] && [ -z "${CARGO_TARGET_DIR:-}" ]; then
  export CARGO_TARGET_DIR="${XDG_CACHE_HOME:-${HOME:?is not set}/.cache}/stock-bazaar/target"
fi
bin="${CARGO_TARGET_DIR:-$root/target}/release"

fail() {
  echo "error: $*" >&2
  exit 1
}

# For arguments that are wrong: nothing was done.
refuse() {
  echo "error: $*; see scripts/$(basename "$0") --help" >&2
  exit 2
}

# For scripts without arguments: 'usage' prints what they do.
take_no_arguments() {
  case ${1:-} in
    '') ;;
    -h|--help) usage; exit 0 ;;
    *) refuse "'$1' means nothing here; there are no arguments" ;;
  esac
}

# Bindgen needs the library and clang's own headers; Debian's libclang-dev brings both.
have_libclang() {
  compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null && compgen -G '/usr/lib/llvm-*/lib/clang/*/include/stddef.h' >/dev/null
}

# Installs these Debian packages, or says which are missing.
install_packages() {
  [ $# -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    fail "these packages are missing; install them with: sudo apt-get install $*"
  fi
  echo "installing $*"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# Installs the Debian packages that a build and the scripts need, or says exactly which are missing.
install_missing() {
  local packages=()
  command -v cc >/dev/null && command -v c++ >/dev/null && command -v make >/dev/null || packages+=(build-essential)
  have_libclang || packages+=(libclang-dev)
  command -v curl >/dev/null || packages+=(curl)
  command -v setsid >/dev/null || packages+=(util-linux)
  # The program, not the shell's own: the stories of the tests send signals with it.
  type -P kill >/dev/null || packages+=(procps)
  install_packages "${packages[@]+"${packages[@]}"}"
  if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then
    PATH="$HOME/.cargo/bin:$PATH"
  fi
  command -v cargo >/dev/null || fail "Rust is missing; install it with rustup (https://rustup.rs), version 1.95 or newer"
}

have_browser() { type -P chromium >/dev/null && type -P chromedriver >/dev/null; }
browser_packages=(chromium chromium-driver fonts-dejavu-core)

# Installs packages without which some stories are skipped. They say so, and all others run: it is no reason to stop.
install_for_stories() {
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && (install_packages "$@"); then return; fi
  echo "note: some stories are skipped without these packages: $*" >&2
}

# For scripts that start clusters of their own: what the caller's environment says of another one must not reach them.
forget_settings() {
  unset "${!BAZAAR_@}"
}

# An absolute path for one that the caller gave.
from_caller() {
  case $1 in
    /*) echo "$1" ;;
    *) echo "$caller_folder/$1" ;;
  esac
}

# Builds all binaries that people use. Prints only when there is something to do; another cargo at work makes it wait.
build() {
  [ -x "$bin/bazaar" ] || echo "building everything; the first time takes some minutes (RocksDB alone a quarter of an hour)"
  if [ -e "$bin/.cargo-lock" ] && ! flock --nonblock "$bin/.cargo-lock" true; then
    echo "another build is at work; waiting for it"
  fi
  if ! cargo build --release --locked --workspace --exclude bazaar-bench --bins --quiet; then
    fail "the build failed; the lines above say why"
  fi
  [ -x "$bin/bazaar" ] || fail "the build made no $bin/bazaar"
}

# Builds the same with rules that can be broken, under names of their own: nothing that people use is built anew by it.
build_mutants() {
  local -a features binaries
  local part
  for part in order-raft catalog frontend; do
    features+=("bazaar-$part/mutants")
    binaries+=(--bin "mutant-$part")
  done
  echo "building the service with rules that can be broken; that takes some minutes the first time" >&2
  cargo build --release --locked --workspace --exclude bazaar-bench --quiet "${binaries[@]}" \
    --features "$(IFS=,; echo "${features[*]}")"
}

# Installs and builds what a cluster on hosts of its own needs, to be broken.
prepare_chaos() {
  [ "$(id -u)" = 0 ] || fail "network namespaces need root"
  install_missing
  local packages=()
  type -P ip >/dev/null || packages+=(iproute2)
  type -P nft >/dev/null || packages+=(nftables)
  install_packages "${packages[@]+"${packages[@]}"}"
  build
}

# Prints a program for sed that moves the ports of config/cluster.toml to those from FIRST on; with 'back', the way back.
moved_ports() {
  local to=$1 way=${2:-there} port old new second=()
  for port in $(grep -o '127\.0\.0\.1:[0-9]*' config/cluster.toml | cut -d: -f2 | awk '!seen[$0]++'); do
    case $way in
      there) old=$port new=$to ;;
      back) old=$to new=$port ;;
    esac
    # By way of a mark: a new port may be the old one of a later line.
    echo "s/127\.0\.0\.1:$old\b/127.0.0.1:<$old>/g"
    second+=("s/127\.0\.0\.1:<$old>/127.0.0.1:$new/g")
    to=$((to + 1))
  done
  printf '%s\n' "${second[@]}"
}

# Makes a configuration like config/cluster.toml in a folder, with ports from FIRST on.
own_config() {
  mkdir -p "$1"
  cp config/stocks.toml "$1/stocks.toml"
  sed "$(moved_ports "$2")" config/cluster.toml >"$1/cluster.toml"
}
