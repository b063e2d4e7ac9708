#!/usr/bin/env bash
# The one command: demo, test, bench, www, lint, setup. `./build.sh help` tells their options.
#
# Progress goes to stderr; stdout ends with exactly one line. Status: 0 good, 1 wrong result,
# 2 bad usage, 3 something is missing here. The work is done by tests/harness; this file only
# makes sure that the harness itself can start.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

usage="usage: ./build.sh demo | test [kernel 6.1] | bench native|web|instructions | www | lint"
usage+=" | setup [--check]; --help after a command tells more"
case ${1:-} in
  demo | test | bench | www | lint)
    status=0
    said=$(bash tests/harness/setup.sh base) || status=$?
    if [[ $status != 0 ]]; then
      echo "$1: missing: $(sed -n 's/^MISSING=//p' <<<"$said")"
      exit "$status"
    fi
    exec node tests/harness/main.mjs "$@"
    ;;
  setup)
    [[ $# -eq 1 || ($# -eq 2 && $2 == --check) ]] || {
      echo "error: setup takes --check and nothing else" >&2
      exit 2
    }
    status=0
    groups=(base web browser firefox gates bench oldest emulator)
    said=$(bash tests/harness/setup.sh "${@:2}" "${groups[@]}") || status=$?
    case $status in
      0) echo "setup: ready" ;;
      *) echo "setup: missing: $(sed -n 's/^MISSING=//p' <<<"$said")" ;;
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
