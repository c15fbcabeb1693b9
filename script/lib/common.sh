# What all scripts share: where the project is, how they talk, and what cargo and Python are called. To be sourced.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
venv=$root/.venv
# A fresh installation of Rust is not on the PATH of a shell that was open before.
if [[ -d ${HOME:-}/.cargo/bin && :$PATH: != *:$HOME/.cargo/bin:* ]]; then
  export PATH=$HOME/.cargo/bin:$PATH
fi

say() { printf '==> %s\n' "$*"; }

die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# A browser that can be driven: its path.
browser() {
  local name
  for name in chromium chromium-browser google-chrome google-chrome-stable; do
    command -v "$name" && return
  done
  return 1
}

has() { command -v "$1" >/dev/null 2>&1; }
