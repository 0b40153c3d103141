#!lua flags=no-writes
-- Looks at a sale and at who of these buyers has orders in it: enough to refuse, without their whole claims, the rush
-- that comes when everything is sold. Whoever may have an order, or may get one, goes on to claim.lua.
--
-- KEYS  1 meta   2 sale   3 buyers
-- ARGV  1 number of SKUs   then the SKUs, then the buyers (none where the node knows who has orders)
-- Reply 1 the time (ms)   2 the sale's opens_at (ms)   3 why nobody may buy: N P C as in claim.lua, X not here, or ""
--       4 how many names the hash of buyers has, ' ' (see publish_sale) among them
--       then two for each SKU: units left, limit ("" for none)
--       then the numbers (from 1) of the buyers who have orders
-- Error FENCED stamp|lease
-- @include fence
local fenced, now_ms = fence(KEYS[1])
if fenced then return fenced end

local sku_count = tonumber(ARGV[1])
local fields = { 'control', 'opens_at', 'closes_at' }
for i = 1, sku_count do
  fields[2 + 2 * i] = 'stock:' .. ARGV[1 + i]
  fields[3 + 2 * i] = 'limit:' .. ARGV[1 + i]
end
local sale = redis.call('HMGET', KEYS[2], unpack(fields))
local found = redis.call('HMGET', KEYS[3], ' ', unpack(ARGV, 2 + sku_count))

local control, why = sale[1], ''
if not control or not found[1] then
  why = 'X'
elseif control == 'closed' or now_ms >= tonumber(sale[3]) then
  why = 'C'
elseif control == 'paused' then
  why = 'P'
elseif now_ms < tonumber(sale[2]) then
  why = 'N'
end

local reply = { now_ms, tonumber(sale[2] or 0), why, redis.call('HLEN', KEYS[3]) }
for i = 4, #fields do reply[1 + i] = sale[i] or '' end
for i = 2, #found do
  if found[i] then reply[#reply + 1] = i - 1 end
end
return reply
