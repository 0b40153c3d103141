#!lua flags=no-writes
-- The stock of a sale and the position of the log at the same moment: what a reconcile holds against Postgres.
--
-- Guarantee: the stock is the one that the entries up to the last one made, no more and no fewer.
-- KEYS  1 meta   2 sale   3 log
-- ARGV  1 group
-- Reply 1 the last entry id   2 the first entry id that is not settled ("" for none)   3 whether the sale is here (1, 0)
--       then two for each SKU that has stock: SKU, units
-- Error FENCED stamp|lease|log
-- @include fence
-- @include last_delivered
-- @include oldest_unsettled
local fenced = fence(KEYS[1])
if fenced then return fenced end

-- The log always holds at least its opening entry: without one it was deleted under us.
local last = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
if not last then return redis.error_reply('FENCED log') end
local unsettled = oldest_unsettled(KEYS[3], ARGV[1])
if not unsettled then return redis.error_reply('FENCED log') end

local sale = redis.call('HGETALL', KEYS[2])
local reply = { last[1], unsettled, #sale > 0 and 1 or 0 }
for i = 1, #sale, 2 do
  local sku = string.match(sale[i], '^stock:(.+)$')
  if sku then
    reply[#reply + 1] = sku
    reply[#reply + 1] = sale[i + 1]
  end
end
return reply
