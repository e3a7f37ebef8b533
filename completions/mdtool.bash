# SPDX-License-Identifier: GPL-2.0-or-later
# bash completion for mdtool: verbs, their options, and files.

_mdtool_options() {
  local shared="--help --json --progress"
  case $1 in
    examine) echo "$shared --uuid --bitmap --verbose" ;;
    assemble) echo "$shared --uuid --at --read-write --overlay --bitmap --loop --run --foreground --log --threads --dry-run --yes --force" ;;
    copy) echo "$shared --uuid --to --force" ;;
    stop) echo "$shared --force" ;;
    resync) echo "$shared --uuid --bitmap --dry-run --yes --undo --force" ;;
    build-parity) echo "$shared --uuid --bitmap --dry-run --yes --undo --state --all" ;;
    overlay) echo "$shared --uuid --dry-run --yes --undo --keep --force" ;;
    undo) echo "$shared --dry-run --yes" ;;
  esac
}

_mdtool_values() {
  case $1:$2 in
    *:--progress) echo "auto json none" ;;
    examine:--bitmap) echo "internal lockless none" ;;
    assemble:--bitmap) ;; # a file, too
    *:--bitmap) echo "internal lockless" ;;
    assemble:--force) echo "dirty-degraded ignore-journal lazy-recovery" ;;
    copy:--force) echo "ignore-journal lazy-recovery overwrite" ;;
    stop:--force) echo "in-use" ;;
    resync:--force) echo "dirty-degraded lazy-recovery" ;;
    overlay:--force) echo "unfinished-commit" ;;
    overlay:overlay) echo "show discard commit" ;;
    build-parity:--state) echo "auto clean-unwritten clean" ;;
  esac
}

_mdtool() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} words
  if [ "$COMP_CWORD" -eq 1 ]; then
    words="examine assemble copy stop resync build-parity overlay undo --help --version"
  elif [[ $current == -* ]]; then
    words=$(_mdtool_options "${COMP_WORDS[1]}")
  else
    words=$(_mdtool_values "${COMP_WORDS[1]}" "$previous")
    if [ -z "$words" ]; then
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      return
    fi
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -o filenames -F _mdtool mdtool
