#!/usr/bin/env bash
# The one command: demo, test, bench, www, lint, setup. `./build.sh help` tells their options.
#
# Progress goes to stderr; stdout ends with exactly one line. Status: 0 good, 1 wrong result,
# 2 bad usage, 3 something is missing here. The work is done by tests/harness; this file only
# makes sure that the harness itself can start.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

usage="usage: ./build.sh demo | test | bench native|web|instructions | www | lint | setup [--check]"
usage+="; --help after a command tells more"
case ${1:-} in
  demo | test | bench | www | lint)
    bash tests/harness/setup.sh base >/dev/null || {
      status=$?
      echo "$1: missing: set-up is incomplete, the last line above says what to install"
      exit "$status"
    }
    exec node tests/harness/main.mjs "$@"
    ;;
  setup)
    [[ $# -eq 1 || ($# -eq 2 && $2 == --check) ]] || {
      echo "error: setup takes --check and nothing else" >&2
      exit 2
    }
    status=0
    bash tests/harness/setup.sh "${@:2}" base web browser firefox gates >/dev/null || status=$?
    case $status in
      0) echo "setup: ready" ;;
      *) echo "setup: incomplete, the line above says what is missing" ;;
    esac
    exit "$status"
    ;;
  help | --help | -h)
    echo "$usage"
    ;;
  *)
    echo "error: ${1:+unknown command: $1; }$usage" >&2
    exit 2
    ;;
esac
