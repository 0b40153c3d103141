#!lua flags=allow-oom
-- Writes a little, so that a WAIT behind it on the same connection covers everything that any connection has written
-- before: WAIT promises that only of its own connection's writes. (Redis 7.0 keeps more than the promise: there a read
-- would do.)
--
-- KEYS  1 meta
-- Reply how often this was done
-- Error FENCED stamp|lease
-- @include fence
local fenced = fence(KEYS[1])
if fenced then return fenced end
return redis.call('HINCRBY', KEYS[1], 'touched', 1)
