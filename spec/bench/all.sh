#!/bin/bash
# spec/bench/all.sh OUT.jsonl [options of peers.sh]: every scenario on every peer that
# can do it, one scenario after the other so that peers meet the same minutes.
out=$1; shift
here=$(dirname "${BASH_SOURCE[0]}")
peers=${PEERS:-$(ls "$here/peers")}
for s in ${SCENARIOS:-plain policy 1k 64k 10m tls h2 routes1 routes1000 routes10000 tlshs idle idletls c1}; do
	for p in $peers; do
		case " $("$here/peers.sh" list | sed -n "s/^$p: //p") " in
		*" $s "*) "$here/peers.sh" "$s" "$p" --json "$out" "$@" || echo "FAILED $s $p" ;;
		esac
	done
done
