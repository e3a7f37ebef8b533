# SPDX-License-Identifier: GPL-2.0-or-later
# Sourced by the runners `uml` and `vm`: what they take from Debian, into a cache of theirs. Knows packages and what every
# guest has in its root; knows no kernel.

cache=${MDLAB_CACHE:-$HOME/.cache/mdlab}
runner=${0##*/}

fail() { echo "$runner: $1" >&2; exit "${2:-2}"; }
need_root() { [ "$(id -u)" = 0 ] || fail "the first use prepares the lab and has to be root"; }

# Newer suites are read through a private apt state: the system's own sources and packages stay as they are.
private_apt=(-o "Dir::Etc::sourcelist=$cache/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
             -o "Dir::State::lists=$cache/apt/lists" -o "Dir::Cache=$cache/apt/cache" -o APT::Sandbox::User=root)

system_mirror() {  # where this system gets its own release from
  # shellcheck disable=SC2016  # apt's own variables
  apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
    awk -v own="$(. /etc/os-release && echo "${VERSION_CODENAME:-}")" '$1 == own || $1 == "stable" { print $2; exit }'
}

setup_apt() {
  [ -e "$cache/apt/ready" ] && return
  local mirror suite
  mirror=$(system_mirror)
  [ -n "$mirror" ] || fail "apt knows no Debian mirror for this system"
  mkdir -p "$cache/apt/lists/partial" "$cache/apt/cache/archives/partial"
  for suite in bookworm trixie sid; do
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
  done >"$cache/apt/sources.list"
  apt-get "${private_apt[@]}" -q update >"$cache/apt/update.log" 2>&1 || fail "apt-get update failed; see $cache/apt/update.log"
  touch "$cache/apt/ready"
}

unpack_downloads() {  # unpack_downloads TARGET DOWNLOADS
  local package
  for package in "$2"/*.deb; do dpkg -x "$package" "$1"; done
  rm -rf "$2"
}

unpack() {  # unpack TARGET PACKAGE/SUITE...
  local target=$1 downloads
  shift
  downloads=$(mktemp -d "$cache/deb.XXXXXX")
  (cd "$downloads" && apt-get "${private_apt[@]}" -q download "$@" >download.log 2>&1) ||
    fail "cannot download $*; see $downloads/download.log (a stale package list? remove $cache/apt and try again)"
  unpack_downloads "$target" "$downloads"
}

unpack_with_all_it_needs() {  # unpack_with_all_it_needs TARGET SUITE PACKAGE: as on a system that has nothing yet
  local downloads
  downloads=$(mktemp -d "$cache/deb.XXXXXX")
  mkdir "$downloads/partial"
  : >"$downloads/nothing-installed"
  apt-get "${private_apt[@]}" -o "Dir::State::status=$downloads/nothing-installed" -o "Dir::Cache::archives=$downloads" \
    -o Debug::NoLocking=1 -t "$2" -q -y --no-install-recommends --download-only install "$3" >"$downloads/download.log" 2>&1 ||
    fail "cannot download $3; see $downloads/download.log (a stale package list? remove $cache/apt and try again)"
  unpack_downloads "$1" "$downloads"
}

# mdadm and busybox, and an init that runs /lab/script as root and leaves its output and status beside it. The runner says
# by which commands /lab and /share are mounted.
make_guest_root() {  # make_guest_root ROOT COMMANDS
  local root=$1 applet
  mkdir -p "$root"/{bin,sbin,proc,sys,dev,run,tmp,etc,mnt,share,lab,lib64}
  unpack "$root" mdadm/sid libc6/sid libudev1/sid libcap2/sid libgcc-s1/sid busybox-static/bookworm
  rm -rf "${root:?}"/usr/share "$root"/usr/lib/x86_64-linux-gnu/gconv "${root:?}"/etc/*
  [ -x "$root/bin/busybox" ] || cp "$(find "$root" -name busybox -type f -print -quit)" "$root/bin/busybox"
  cp -L "$(find "$root/usr" -name ld-linux-x86-64.so.2 -print -quit)" "$root/lib64/"
  for applet in $("$root/bin/busybox" --list); do
    [ -e "$root/bin/$applet" ] || ln -s /bin/busybox "$root/bin/$applet"
  done
  cat >"$root/init" <<GUEST
#!/bin/busybox sh
export PATH=/lab/bin:/bin:/sbin:/usr/bin:/usr/sbin HOME=/ LD_LIBRARY_PATH=/usr/lib/x86_64-linux-gnu
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
for place in tmp run mnt; do mount -t tmpfs "\$place" "/\$place"; done
mkdir -p /run/mdadm /dev/shm
argument() { sed -n "s/.*lab\\.\$1=\\([^ ]*\\).*/\\1/p" /proc/cmdline; }
$2
echo 1 >/proc/sys/kernel/sysrq
sh -e /lab/script >/lab/output 2>&1 </dev/null
echo \$? >/lab/status
poweroff -f
GUEST
  chmod +x "$root/init"
}

one_at_a_time() {  # one_at_a_time COMMAND...: whoever comes second finds it done
  mkdir -p "$cache"
  local lock
  exec {lock}>"$cache/lock"
  flock "$lock"
  "$@"
  exec {lock}>&-
}

# ---- one run -------------------------------------------------------------------------------------------------------

lay_out_lab() {  # lay_out_lab LAB SCRIPT PROGRAM...
  local lab=$1 program
  mkdir -p "$lab/bin"
  cp -- "$2" "$lab/script"
  shift 2
  for program in "$@"; do install -m 755 "$program" "$lab/bin/"; done
}

report() {  # report LAB CONSOLE: what the script said; then the end, with its status
  cat "$1/output" 2>/dev/null || true
  [ -s "$1/status" ] || { tail -20 "$2" >&2; fail "the guest died; its console's end is above" 125; }
  exit "$(cat "$1/status")"
}
