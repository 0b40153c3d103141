#!lua flags=allow-oom
-- Writes a little, so that a WAIT behind it on the same connection covers everything that was written before: a WAIT behind
-- what only reads covers nothing.
--
-- KEYS  1 meta
-- Reply how often this was done
-- Error FENCED stamp|lease
-- @include fence
local fenced = fence(KEYS[1])
if fenced then return fenced end
return redis.call('HINCRBY', KEYS[1], 'touched', 1)
