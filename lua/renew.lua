#!lua flags=allow-oom
-- Keeps the partition open for another lease. Only the keeper calls it.
--
-- Guarantee: an answer that is given after `not after` renews nothing, so whoever sent it knows when the last lease is over.
-- KEYS  1 meta   2 log
-- ARGV  1 lease (ms)   2 run_id   3 master_replid: of the server that was opened   4 not after this time (ms)
--       5 healthy replicas that must be there: 0 while the keeper is sure of its lock
-- Reply 1 "renewed", or why not: "late", "replicas"   2 the time (ms)   3 healthy replicas
-- Error FENCED stamp|lease (one that ran out is not renewed: the partition is opened anew)
--       FENCED log (it, or its consumer group, was deleted);  SUPERSEDED server
-- @include fence
-- @include same_server
-- @include healthy_replicas
local fenced, now_ms = fence(KEYS[1])
if fenced then return fenced end
local other, replication = same_server(ARGV[2], ARGV[3])
if other then return other end
if redis.call('EXISTS', KEYS[2]) == 0 or #redis.call('XINFO', 'GROUPS', KEYS[2]) == 0 then
  return redis.error_reply('FENCED log')
end
local replicas = healthy_replicas(replication)
if now_ms > tonumber(ARGV[4]) then return { 'late', now_ms, replicas } end
if replicas < tonumber(ARGV[5]) then return { 'replicas', now_ms, replicas } end

redis.call('HSET', KEYS[1], 'lease_until', now_ms + tonumber(ARGV[1]))
return { 'renewed', now_ms, replicas }
