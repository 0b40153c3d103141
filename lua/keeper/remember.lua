#!lua flags=allow-oom
-- One step of a rebuild: adds records of orders to what a sale knows of its buyers, if this opening is still the one.
-- allow-oom: as every step of an opening.
--
-- Not to be sent twice: a record would be there twice. An opening that lost a reply begins anew, with empty keys.
-- KEYS  1 meta   2 buyers
-- ARGV  1 token   2 "first" (each buyer comes once, and has no record yet) or "more"   then pairs: buyer, record
-- Reply the number of buyers
-- Error SUPERSEDED state;  ERR (a buyer of "first" had a record: it is lost, and the opening with it)
-- @include opening
local superseded = opening(KEYS[1], ARGV[1])
if superseded then return superseded end

local STEP = 2000 -- buyers in one command: bounded by what Lua can unpack
if ARGV[2] == 'first' then
  for i = 3, #ARGV, 2 * STEP do
    local last = math.min(i + 2 * STEP - 1, #ARGV)
    if redis.call('HSET', KEYS[2], unpack(ARGV, i, last)) ~= (last - i + 1) / 2 then
      return redis.error_reply('ERR a buyer had a record already')
    end
  end
  return (#ARGV - 2) / 2
end

local buyers, records = {}, {}
for i = 3, #ARGV, 2 do
  local buyer = ARGV[i]
  local earlier = records[buyer]
  if earlier then
    records[buyer] = earlier .. ARGV[i + 1]
  else
    buyers[#buyers + 1] = buyer
    records[buyer] = ARGV[i + 1]
  end
end
for first = 1, #buyers, STEP do
  local last = math.min(first + STEP - 1, #buyers)
  local known = redis.call('HMGET', KEYS[2], unpack(buyers, first, last))
  local fields = {}
  for n = first, last do
    local buyer, earlier = buyers[n], known[n - first + 1]
    local at = 2 * (n - first)
    fields[at + 1] = buyer
    fields[at + 2] = earlier and earlier .. records[buyer] or records[buyer]
  end
  redis.call('HSET', KEYS[2], unpack(fields))
end
return #buyers
