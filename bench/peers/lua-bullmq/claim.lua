-- Idempotency, stock and the decrement in one step.
-- KEYS  1 stock   2 keys that were used (hash)
-- ARGV  1 buyer and key   2 quantity   3 id for a new order
-- Reply {status, id}: 'new', 'known', 'sold-out'
local known = redis.call('HGET', KEYS[2], ARGV[1])
if known then return { 'known', known } end
local left = tonumber(redis.call('GET', KEYS[1]) or 0)
if left < tonumber(ARGV[2]) then return { 'sold-out', '' } end
redis.call('DECRBY', KEYS[1], ARGV[2])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
return { 'new', ARGV[3] }
