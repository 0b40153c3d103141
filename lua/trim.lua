#!lua flags=allow-oom
-- Forgets log entries that are older than the retention, never one that is not yet persisted: the caller gives
-- a bound at or below the watermark that Postgres holds, and pending entries are looked at again here.
--
-- KEYS  1 meta   2 log
-- ARGV  1 group   2 keep entries from this id on
-- Reply the number of entries removed
-- Error FENCED stamp|lease
-- @include fence
local fenced = fence(KEYS[1])
if fenced then return fenced end

local pending = redis.call('XPENDING', KEYS[2], ARGV[1], '-', '(' .. ARGV[2], 1)
if #pending > 0 then return 0 end
return redis.call('XTRIM', KEYS[2], 'MINID', '~', ARGV[2], 'LIMIT', 10000)
