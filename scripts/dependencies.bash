# SPDX-License-Identifier: GPL-2.0-or-later
# Sourced by scripts/demo and scripts/test: Debian packages by name, installed where any of them is missing.

build_packages=(cmake ninja-build g++ pkg-config libblkid-dev libcli11-dev nlohmann-json3-dev libfuse3-dev fuse3
  libzstd-dev zstd scdoc)
test_packages=(clang libclang-rt-14-dev libgtest-dev libbenchmark-dev mandoc python3 python3-jsonschema
  flex bison bc make gcc libelf-dev xz-utils fio e2fsprogs xfsprogs strace)

install_packages() {
  local package missing=() sudo=()
  for package in "$@"; do
    dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  [ "$(id -u)" -eq 0 ] || sudo=(sudo)
  echo "installing: ${missing[*]}" >&2
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq update >&2
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq -y \
    --no-install-recommends install "${missing[@]}" >&2
}
