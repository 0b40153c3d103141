#!lua flags=no-writes
-- Where a partition's log stands, in numbers. Constant time.
--
-- KEYS  1 meta   2 log
-- ARGV  1 group
-- Reply 1 the time (ms)   2 entries appended   3 entries settled: since the opening   4 number of the stream's entries
--       5 the first entry id   6 the last one   7 the first that is not settled ("" for none)
-- Error FENCED stamp|lease|log
-- @include fence
-- @include last_delivered
-- @include oldest_unsettled
local fenced, now_ms = fence(KEYS[1])
if fenced then return fenced end

local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
if not first then return redis.error_reply('FENCED log') end
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
local unsettled = oldest_unsettled(KEYS[2], ARGV[1])
if not unsettled then return redis.error_reply('FENCED log') end
local counts = redis.call('HMGET', KEYS[1], 'appended', 'settled')
return {
  now_ms, tonumber(counts[1] or 0), tonumber(counts[2] or 0), redis.call('XLEN', KEYS[2]),
  first[1], last[1], unsettled
}
