#!lua flags=allow-oom
-- Tells this partition a sale's definition: control, window, limits. Stock comes by change_stock. And logs it, so that
-- a database which is restored from before the sale learns of it again.
-- allow-oom: a sale must be paused or closed also on a full Redis.
--
-- Guarantee: an older version never replaces a newer one; one log entry for each version that is new here; a sale that was
-- told before and is gone is not begun anew: an opening rebuilds it, with its stock and its buyers.
-- KEYS  1 meta   2 sale   3 buyers   4 log
-- ARGV  1 version   2 control   3 opens_at (ms)   4 closes_at (ms)   5 value of the log entry
--       6 the version that is known to have been told here before (0: none)
--       then three for each SKU: SKU, limit ("" for none), "0" where this partition has no unit of it, else ""
-- Reply the version that is in force now; -1 where the sale was told before and is gone
-- Error FENCED stamp|lease|log
-- @include fence
local fenced = fence(KEYS[1])
if fenced then return fenced end

-- The log always holds at least its opening entry: without one it was deleted under us.
if redis.call('XLEN', KEYS[4]) == 0 then return redis.error_reply('FENCED log') end
local current = tonumber(redis.call('HGET', KEYS[2], 'version') or 0)
if current >= tonumber(ARGV[1]) then return current end
if current == 0 and tonumber(ARGV[6]) > 0 then return -1 end

local fields = { 'version', ARGV[1], 'control', ARGV[2], 'opens_at', ARGV[3], 'closes_at', ARGV[4] }
local lifted = {} -- limits that an older version may have set
local without = {} -- SKUs of which all units are in other partitions: sold out here, not unknown
for i = 7, #ARGV, 3 do
  if ARGV[i + 1] == '' then
    lifted[#lifted + 1] = 'limit:' .. ARGV[i]
  else
    fields[#fields + 1] = 'limit:' .. ARGV[i]
    fields[#fields + 1] = ARGV[i + 1]
  end
  if ARGV[i + 2] == '0' then without[#without + 1] = 'stock:' .. ARGV[i] end
end
redis.call('XADD', KEYS[4], '*', 'sale', ARGV[5])
redis.call('HINCRBY', KEYS[1], 'appended', 1)
redis.call('HSET', KEYS[2], unpack(fields))
for _, stock in ipairs(without) do redis.call('HSETNX', KEYS[2], stock, 0) end
-- A field that no buyer can have: while it is there, a buyer who is not found has no orders. Written once, so that a
-- deleted key is not taken for an empty one.
if current == 0 then redis.call('HSET', KEYS[3], ' ', '') end
if #lifted > 0 then redis.call('HDEL', KEYS[2], unpack(lifted)) end
return tonumber(ARGV[1])
