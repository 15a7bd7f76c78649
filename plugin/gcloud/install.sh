#!/usr/bin/env bash
# Adds `gcloud cloudssh` to the gcloud on PATH, or takes it out again.
set -euo pipefail

usage() {
  cat >&2 <<USAGE
usage: $0 install|uninstall|status [--sdk-root DIR]

  install    put the command cloudssh into gcloud's command tree
  uninstall  take it out again
  status     say whether it is there; exits with 1 if not, or if it is outdated

  --sdk-root DIR  gcloud's installation (default: what \`gcloud info\` says)
USAGE
  exit 2
}

die() {
  echo "error: $1" >&2
  shift
  if (($# > 0)); then printf '  hint: %s\n' "$@" >&2; fi
  exit 1
}

# The line that tells our file from one of the same name.
readonly mark='A shell in a private, short-lived twin of a Cloud Run service.'

find_root() {
  command -v gcloud >/dev/null ||
    die 'gcloud is not on PATH' 'https://cloud.google.com/sdk/docs/install' "$0 $action --sdk-root DIR"
  gcloud info --format='value(installation.sdk_root)' 2>/dev/null ||
    die 'gcloud info does not say where gcloud is' "$0 $action --sdk-root DIR"
}

refuse() {
  die "$surface is not writable" "sudo $(printf '%q' "$here/install.sh") $action --sdk-root $(printf '%q' "$root")"
}

need_ours() {
  if [[ -e $target ]] && ! grep -qF "$mark" "$target"; then
    die "$target is not of cloudssh; leaving it alone"
  fi
}

do_install() {
  need_ours
  if cmp -s "$source" "$target"; then
    echo "already installed: $target"
    return
  fi
  # Renamed into place, so that no gcloud reads half a file.
  scratch=$(mktemp "$surface/.cloudssh.XXXXXX" 2>/dev/null) || refuse
  trap 'rm -f "$scratch"' EXIT
  cat "$source" >"$scratch"
  chmod 644 "$scratch"
  mv "$scratch" "$target"
  echo "installed: $target"
  command -v cloudssh >/dev/null ||
    echo 'note: gcloud cloudssh runs the program cloudssh, which is not on PATH yet' >&2
}

do_uninstall() {
  if [[ ! -e $target ]]; then
    echo "not installed: $target"
    return
  fi
  need_ours
  rm -f "$target" "$surface"/__pycache__/cloudssh.*.pyc 2>/dev/null || refuse
  echo "removed: $target"
}

do_status() {
  if [[ ! -e $target ]]; then
    echo "not installed: $target"
    return 1
  fi
  need_ours
  if ! cmp -s "$source" "$target"; then
    echo "outdated: $target"
    return 1
  fi
  echo "installed: $target"
}

action='' root=''
while (($# > 0)); do
  case $1 in
    install | uninstall | status) action=$1 ;;
    --sdk-root) (($# > 1)) || usage; root=$2; shift ;;
    --sdk-root=*) root=${1#*=} ;;
    *) usage ;;
  esac
  shift
done
if [[ -z $action ]]; then usage; fi

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [[ -z $root ]]; then root=$(find_root); fi
surface=$root/lib/surface
target=$surface/cloudssh.py
source=$here/cloudssh.py
[[ -d $surface ]] || die "there is no gcloud in ${root:-an empty directory}" "$0 $action --sdk-root DIR"
[[ -f $source ]] || die "$source is missing"

"do_$action"
