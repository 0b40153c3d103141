#!lua flags=allow-oom
-- Removes a sale that is over. From here Postgres answers for its orders; its row says `retired_at` already.
--
-- KEYS  1 meta   2 sale   3 buyers   4 causes
-- Reply the number of keys removed
-- Error FENCED stamp|lease
-- @include fence
local fenced = fence(KEYS[1])
if fenced then return fenced end

return redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[4])
