#!lua
-- Tells this partition a sale's definition: control, window, limits. Stock comes by change_stock.
--
-- Guarantee: an older version never replaces a newer one.
-- KEYS  1 meta   2 sale
-- ARGV  1 version   2 control   3 opens_at (ms)   4 closes_at (ms)   then pairs: SKU, limit ("" for none)
-- Reply the version that is in force now
-- Error FENCED stamp|lease
-- @include fence
local fenced = fence(KEYS[1])
if fenced then return fenced end

local current = tonumber(redis.call('HGET', KEYS[2], 'version') or 0)
if current >= tonumber(ARGV[1]) then return current end

local fields = { 'version', ARGV[1], 'control', ARGV[2], 'opens_at', ARGV[3], 'closes_at', ARGV[4] }
local lifted = {} -- limits that an older version may have set
for i = 5, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    lifted[#lifted + 1] = 'limit:' .. ARGV[i]
  else
    fields[#fields + 1] = 'limit:' .. ARGV[i]
    fields[#fields + 1] = ARGV[i + 1]
  end
end
redis.call('HSET', KEYS[2], unpack(fields))
if #lifted > 0 then redis.call('HDEL', KEYS[2], unpack(lifted)) end
return tonumber(ARGV[1])
