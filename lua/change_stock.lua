#!lua flags=allow-oom
-- Applies one change of stock that Postgres has decided, and logs it.
-- allow-oom: a return must reach a full Redis. (An allotment is small and rare.)
--
-- Guarantee: each cause changes stock once, however often the call is repeated.
-- KEYS  1 meta   2 sale   3 buyers   4 causes   5 log
-- ARGV  1 field of the log entry ("allotment", "adjustment", "confirmation" or "return")   2 value of the log entry   3 cause
--       4 buyer ("" for none)   5 head and entry id of the buyer's record to empty of its units
--       then pairs: SKU (each once), units to add; a return may have none, a confirmation has none, and they are
--       logged all the same; an adjustment may take units away (below 0)
-- Reply the id of the log entry; "known" where this cause was applied before; "absent" where the sale is not here, or
--       where a SKU has no stock and this is not its allotment (it would be for sale again, with a number that nobody
--       knows); "short" where fewer units are left than are to go: they are sold
-- Error FENCED stamp|lease|log
-- @include fence
local fenced = fence(KEYS[1])
if fenced then return fenced end

-- The log always holds at least its opening entry: without one it was deleted under us.
if redis.call('XLEN', KEYS[5]) == 0 then return redis.error_reply('FENCED log') end
if redis.call('EXISTS', KEYS[2]) == 0 then return 'absent' end
if redis.call('SISMEMBER', KEYS[4], ARGV[3]) == 1 then return 'known' end

-- Added here and not by HINCRBY, which would find a value that is no number only after the first write.
local fields, stocks = {}, {}
for i = 6, #ARGV, 2 do fields[#fields + 1] = 'stock:' .. ARGV[i] end
local found = #fields > 0 and redis.call('HMGET', KEYS[2], unpack(fields))
for i = 1, #fields do
  local units = tonumber(ARGV[5 + 2 * i])
  if not found[i] and (ARGV[1] ~= 'allotment' or units < 0) then return 'absent' end
  stocks[2 * i - 1] = fields[i]
  stocks[2 * i] = tonumber(found[i] or 0) + units
  if units < 0 and stocks[2 * i] < 0 then return 'short' end
end

-- The buyer's record keeps its key (promise 3), its units no longer count against the limit.
local records
if ARGV[4] ~= '' then
  records = redis.call('HGET', KEYS[3], ARGV[4])
end
local id = redis.call('XADD', KEYS[5], '*', ARGV[1], ARGV[2])
if #stocks > 0 then redis.call('HSET', KEYS[2], unpack(stocks)) end
if records then
  local kept = {}
  for record in string.gmatch(records, '[^;]+') do
    local name = string.match(record, '^%S+')
    if name == ARGV[5] then record = name .. ' ' end
    kept[#kept + 1] = record .. ';'
  end
  redis.call('HSET', KEYS[3], ARGV[4], table.concat(kept))
end
redis.call('SADD', KEYS[4], ARGV[3])
redis.call('HINCRBY', KEYS[1], 'appended', 1)
return id
