# SPDX-License-Identifier: GPL-2.0-or-later
# bash completion for mdtool: verbs, their options, and files.

_mdtool_options() {
  local shared="--help --json --progress" edit="--uuid --dry-run --yes --undo --with"
  case $1 in
    examine) echo "$shared --uuid --with --bitmap --verbose" ;;
    assemble) echo "$shared --uuid --with --at --read-write --overlay --bitmap --loop --run --foreground --log --threads --dry-run --yes --force" ;;
    copy) echo "$shared --uuid --with --to --force" ;;
    stop) echo "$shared --force" ;;
    resync | recover) echo "$shared --uuid --bitmap --dry-run --yes --undo --force" ;;
    build-parity) echo "$shared --uuid --bitmap --dry-run --yes --undo --state --all" ;;
    create) echo "$shared --level --raid-devices --spare-devices --chunk --layout --size --data-offset --metadata --bitmap --bitmap-chunk --consistency-policy --name --homehost --uuid --assume-clean --write-zeroes --seed --dry-run --yes --undo --with --force" ;;
    zero-init) echo "$shared --uuid --bitmap --dry-run --yes --undo --method --state --force" ;;
    bitmap) echo "$shared $edit --copy --svg --bitmap --bitmap-chunk --offset --from --force" ;;
    set) echo "$shared $edit --field --name --homehost --new-uuid --slot --update --bad-blocks --target --force" ;;
    add) echo "$shared $edit --target --slot --force" ;;
    remove) echo "$shared $edit --target" ;;
    fail | re-add | force) echo "$shared $edit --target --force" ;;
    erase) echo "$shared $edit --target --metadata --force" ;;
    overlay) echo "$shared --uuid --dry-run --yes --undo --keep --force" ;;
    dump) echo "$shared --uuid --to --anonymize --force" ;;
    restore) echo "$shared $edit --map --images --force" ;;
    undo) echo "$shared --dry-run --yes --undo --member" ;;
  esac
}

_mdtool_values() {
  case $1:$2 in
    *:--progress) echo "auto json none" ;;
    examine:--bitmap) echo "internal lockless none" ;;
    assemble:--bitmap) ;; # a file, too
    create:--bitmap) echo "none internal lockless" ;; # a file, too
    *:--bitmap) echo "internal lockless" ;;
    create:--level) echo "linear 0 1 4 5 6 10" ;;
    create:--metadata | erase:--metadata) echo "0.90 1.0 1.1 1.2" ;;
    create:--consistency-policy) echo "resync bitmap ppl" ;;
    create:--write-zeroes | zero-init:--method) echo "auto zeroout unmap write" ;;
    create:--force) echo "old-content overwrite slow" ;;
    zero-init:--force) echo "data slow" ;;
    assemble:--force) echo "dirty-degraded ignore-journal lazy-recovery" ;;
    copy:--force) echo "ignore-journal lazy-recovery overwrite" ;;
    stop:--force) echo "in-use" ;;
    resync:--force) echo "dirty-degraded lazy-recovery" ;;
    recover:--force) echo "dirty-degraded" ;;
    overlay:--force) echo "unfinished-commit" ;;
    overlay:overlay) echo "show discard commit" ;;
    bitmap:bitmap) echo "show map check add remove convert repair" ;;
    bitmap:--force | dump:--force) echo "overwrite" ;;
    build-parity:--state | zero-init:--state) echo "auto clean-unwritten clean" ;;
    set:--update) echo "name homehost uuid resync devicesize no-bitmap bbl no-bbl force-no-bbl no-ppl super-minor byteorder metadata summaries layout-original layout-alternate layout-unspecified" ;;
    set:--bad-blocks) echo "show clear" ;;
    set:--force) echo "one-member meaning events checksum unbuilt-parity log" ;;
    add:--force) echo "old-content dirty-degraded stale-content split-brain" ;;
    fail:--force) echo "too-few" ;;
    re-add:--force) echo "slot-history bitmap" ;;
    force:--force) echo "split-brain stale-content" ;;
    erase:--force) echo "last-members" ;;
    restore:--force) echo "anonymized" ;;
  esac
}

_mdtool() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} words
  if [ "$COMP_CWORD" -eq 1 ]; then
    words="examine assemble copy stop resync build-parity recover create zero-init bitmap set add remove fail re-add force erase overlay dump restore undo --help --version"
  elif [[ $current == -* ]]; then
    words=$(_mdtool_options "${COMP_WORDS[1]}")
  else
    words=$(_mdtool_values "${COMP_WORDS[1]}" "$previous")
    if [ -z "$words" ] || [[ $current == */* ]]; then
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      return
    fi
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -o filenames -F _mdtool mdtool
