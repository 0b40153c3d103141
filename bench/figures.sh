#!/usr/bin/env bash
# The figures of docs/PERFORMANCE.md: accepted and persisted orders a second with fsync and workers, and the sold-out
# path beside a bare hyper server, from one run on this machine. Loopback only; about two minutes after the build.
#
# Needs wrk, psql and curl (Debian: wrk, postgresql-client, curl). Arguments: connections (256), rounds (3).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
connections=${1:-256} rounds=${2:-3} seconds=5
for tool in wrk psql curl; do
    command -v "$tool" >/dev/null || { echo "$tool is missing: install it (Debian: wrk, postgresql-client, curl)" >&2; exit 1; }
done
cargo build --locked --release --workspace --quiet
target=${CARGO_TARGET_DIR:-target}/release
work=$(mktemp -d)
chmod 755 "$work"
api=127.0.0.1:18080 admin=127.0.0.1:18081 bare=127.0.0.1:18082
token=figures-token-0123456789
processes=()
stop() {
    for process in "${processes[@]}"; do kill -INT "$process" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap stop EXIT

DOORBUSTER_LISTEN=$api DOORBUSTER_ADMIN_LISTEN=$admin DOORBUSTER_ADMIN_TOKEN=$token \
    "$target/doorbuster" dev --data-dir "$work/data" >"$work/dev.log" 2>&1 &
processes+=($!)
"$target/bare" "$bare" >/dev/null 2>&1 &
processes+=($!)
for _ in $(seq 100); do grep -q 'Ctrl-C' "$work/dev.log" && break; sleep 0.2; done
grep -q 'Ctrl-C' "$work/dev.log" || { cat "$work/dev.log" >&2; exit 1; }
database=$(awk '/^ *Postgres /{print $2}' "$work/dev.log")

# A sale whose stock never runs out, and one of a single unit.
for sale in "plenty 100000000" "gone 1"; do
    read -r id stock <<<"$sale"
    curl -sf -o /dev/null -H "Authorization: Bearer $token" -H 'Content-Type: application/json' "http://$admin/admin/v1/sales" -d '{
        "id": "'"$id"'", "name": "'"$id"'", "opens_at": "2020-01-01T00:00:00Z", "closes_at": "2100-01-01T00:00:00Z",
        "products": [{"sku": "UNIT", "name": "Unit", "price": 1999, "currency": "EUR"}],
        "items": [{"sku": "UNIT", "stock": '"$stock"'}]}'
done
for _ in $(seq 100); do
    [ "$(psql "$database" -Atc 'SELECT count(*) FROM stock_intents WHERE applied_at IS NULL')" = 0 ] && break
    sleep 0.1
done

load() { wrk -t2 -c"$connections" -d"${seconds}s" -s bench/wrk/claims.lua "http://$1" -- "sale=$2" sku=UNIT | tail -n 1; }
field() { sed -n "s/.*\"$1\":\([0-9.]*\).*/\1/p"; }
count() { psql "$database" -Atc "SELECT count(*) FROM orders WHERE sale_id = 'plenty'"; }
median() { sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }
load "$api" gone >/dev/null # the one unit is sold here

printf '%-8s %12s %12s %8s %8s %14s %12s %12s %8s\n' \
    round accepted/s persisted/s p50_ms p99_ms drained_after sold_out/s bare/s share
for round in $(seq "$rounds"); do
    before=$(count)
    accepted=$(load "$api" plenty)
    persisted=$(( ($(count) - before) / seconds ))
    drained=0
    while [ $(( $(count) - before )) -lt "$(field requests <<<"$accepted")" ] && [ "$drained" -lt 100 ]; do
        sleep 0.1
        drained=$((drained + 1))
    done
    sold_out=$(load "$api" gone | field requests_per_s)
    limit=$(load "$bare" gone | field requests_per_s)
    echo "$(field requests_per_s <<<"$accepted") $sold_out $limit" >>"$work/samples"
    printf '%-8s %12s %12s %8s %8s %13ss %12s %12s %7s%%\n' "$round" \
        "$(field requests_per_s <<<"$accepted")" "$persisted" \
        "$(field p50_ms <<<"$accepted")" "$(field p99_ms <<<"$accepted")" \
        "$(awk -v n="$drained" 'BEGIN{printf "%.1f", n / 10}')" "$sold_out" "$limit" "$(awk -v a="$sold_out" -v b="$limit" 'BEGIN{printf "%d", 100 * a / b}')"
done
echo "medians: accepted $(cut -d' ' -f1 "$work/samples" | median)/s, sold out $(cut -d' ' -f2 "$work/samples" | median)/s, bare $(cut -d' ' -f3 "$work/samples" | median)/s"
oversold=$(psql "$database" -Atc "SELECT count(*) FROM orders WHERE sale_id = 'gone'")
[ "$oversold" = 1 ] || { echo "FAILED: $oversold orders for one unit" >&2; exit 1; }
echo "checked: one order for the one unit; $(psql "$database" -Atc "SELECT sum(sold) FROM sale_stock WHERE sale_id = 'plenty'") units sold = $(count) rows"
