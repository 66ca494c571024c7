#!/bin/bash
# spec/bench/peers.sh SCENARIO PEER [options]   (spec/bench/peers.sh --help)
exec python3 "$(dirname "${BASH_SOURCE[0]}")/run.py" "$@"
