#!lua flags=allow-oom
-- Ends an opening: the partition sells from here.
--
-- Guarantee: what is answered after `not after` opens nothing: a keeper that stood still meanwhile may be none any more.
-- KEYS  1 meta
-- ARGV  1 token   2 stamp   3 lease (ms)   4 run_id   5 master_replid: of the server on which the opening began
--       6 not after this time (ms)
-- Reply 1 "open" or "late"   2 the time (ms)   3 healthy replicas
-- Error SUPERSEDED state;  SUPERSEDED server (it was restarted or demoted under the opening: steps may be lost)
-- @include opening
-- @include same_server
-- @include healthy_replicas
local superseded = opening(KEYS[1], ARGV[1])
if superseded then return superseded end
local other, replication = same_server(ARGV[4], ARGV[5])
if other then return other end

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local replicas = healthy_replicas(replication)
if now_ms > tonumber(ARGV[6]) then return { 'late', now_ms, replicas } end
redis.call('HSET', KEYS[1], 'state', 'open', 'stamp', ARGV[2], 'lease_until', now_ms + tonumber(ARGV[3]))
redis.call('HDEL', KEYS[1], 'token')
return { 'open', now_ms, replicas }
