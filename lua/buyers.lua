#!lua flags=no-writes
-- Lists who has orders in a sale, a step at a time (https://redis.io/docs/latest/commands/hscan/).
--
-- Guarantee: a name that stands there from the first step to the last is listed. Names are only ever added while a
-- partition is open, so a list as long as the hash (survey.lua tells) is the hash.
-- KEYS  1 meta   2 buyers
-- ARGV  1 cursor, "0" to begin   2 about how many
-- Reply 1 the next cursor, "0" after the last step   then the names, ' ' (see publish_sale) among them
-- Error FENCED stamp|lease
-- @include fence
local fenced = fence(KEYS[1])
if fenced then return fenced end

local step = redis.call('HSCAN', KEYS[2], ARGV[1], 'COUNT', ARGV[2])
local reply = { step[1] }
for i = 1, #step[2], 2 do reply[#reply + 1] = step[2][i] end
return reply
