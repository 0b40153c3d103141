#!lua flags=allow-oom
-- Marks log entries as persisted: acknowledges them and lowers the backlog, in one step. Tells whoever listens which
-- they were.
-- allow-oom: a full Redis must still be able to drain.
--
-- Guarantee: an entry lowers the backlog once, however often it is settled (only where XACK returned 1).
-- KEYS  1 meta   2 log   3 shard channel of order changes
-- ARGV  1 group  2.. entry ids (at most 5000)
-- Reply 1 the number of entries that this call settled   2 of those, how many nobody had counted as appended
-- Error FENCED stamp|lease
-- @include fence
local fenced = fence(KEYS[1])
if fenced then return fenced end

local settled = redis.call('XACK', KEYS[2], unpack(ARGV))
if settled == 0 then return { 0, 0 } end
local all = redis.call('HINCRBY', KEYS[1], 'settled', settled)
-- Entries that another hand wrote into the log were settled like any other, and never counted. They are now: a backlog
-- below zero would let that many claims past backlog_max.
local uncounted = math.max(0, all - tonumber(redis.call('HGET', KEYS[1], 'appended') or 0))
if uncounted > 0 then redis.call('HINCRBY', KEYS[1], 'appended', uncounted) end
-- One message for the batch, and none where nobody listens. pcall: a user without rights to the channel settles too.
local listeners = redis.pcall('PUBSUB', 'SHARDNUMSUB', KEYS[3])[2]
if (tonumber(listeners) or 0) > 0 then
  redis.pcall('SPUBLISH', KEYS[3], table.concat(ARGV, ' ', 2))
end
return { settled, uncounted }
