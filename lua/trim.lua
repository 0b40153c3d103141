#!lua flags=allow-oom
-- Forgets log entries that are older than the retention, never one that is not yet persisted: the caller gives
-- a bound at or below the watermark that Postgres holds, and what is pending or undelivered is looked at again here.
--
-- KEYS  1 meta   2 log
-- ARGV  1 group   2 keep entries from this id on
-- Reply the number of entries removed
-- Error FENCED stamp|lease
-- @include fence
-- @include last_delivered
local fenced = fence(KEYS[1])
if fenced then return fenced end

local group, bound = ARGV[1], ARGV[2]
local pending = redis.call('XPENDING', KEYS[2], group, '-', bound, 1)[1]
if pending and pending[1] ~= bound then return 0 end
local after = '(' .. last_delivered(KEYS[2], group)
local undelivered = redis.call('XRANGE', KEYS[2], after, bound, 'COUNT', 1)[1]
if undelivered and undelivered[1] ~= bound then return 0 end
return redis.call('XTRIM', KEYS[2], 'MINID', '~', bound, 'LIMIT', 10000)
