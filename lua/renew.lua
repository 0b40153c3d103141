#!lua flags=allow-oom
-- Keeps the partition open for another lease. Only the keeper calls it.
--
-- KEYS  1 meta   2 log
-- ARGV  1 lease (ms)   2 run_id   3 master_replid: of the server that was opened
-- Reply the time at which the lease ends (ms)
-- Error FENCED stamp|lease (one that ran out is not renewed: the partition is opened anew)
--       FENCED log (it, or its consumer group, was deleted);  SUPERSEDED server
-- @include fence
-- @include same_server
local fenced, now_ms = fence(KEYS[1])
if fenced then return fenced end
local other = same_server(ARGV[2], ARGV[3])
if other then return other end
if redis.call('EXISTS', KEYS[2]) == 0 or #redis.call('XINFO', 'GROUPS', KEYS[2]) == 0 then
  return redis.error_reply('FENCED log')
end

local lease_until = now_ms + tonumber(ARGV[1])
redis.call('HSET', KEYS[1], 'lease_until', lease_until)
return lease_until
