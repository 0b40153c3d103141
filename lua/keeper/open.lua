#!lua flags=allow-oom
-- Ends an opening: the partition sells from here.
--
-- KEYS  1 meta
-- ARGV  1 token   2 stamp   3 lease (ms)   4 run_id   5 master_replid: of the server on which the opening began
-- Reply the time at which the lease ends (ms)
-- Error SUPERSEDED state;  SUPERSEDED server (it was restarted or demoted under the opening: steps may be lost)
-- @include opening
-- @include same_server
local superseded = opening(KEYS[1], ARGV[1]) or same_server(ARGV[4], ARGV[5])
if superseded then return superseded end

local time = redis.call('TIME')
local lease_until = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[3])
redis.call('HSET', KEYS[1], 'state', 'open', 'stamp', ARGV[2], 'lease_until', lease_until, 'appended', 0, 'settled', 0)
redis.call('HDEL', KEYS[1], 'token')
return lease_until
