#!lua flags=allow-oom
-- Marks log entries as persisted: acknowledges them and lowers the backlog, in one step. Tells whoever listens which
-- they were, and the payment workers which of them are to be paid for.
-- allow-oom: a full Redis must still be able to drain.
--
-- Guarantee: an entry lowers the backlog once, however often it is settled (only where XACK returned 1), by as many log
-- entries as it holds.
-- A payment that is told twice, or of which the telling is lost, is charged once all the same: Postgres decides.
-- KEYS  1 meta   2 log   3 shard channel of order changes   4 payments stream
-- ARGV  1 group  2 number of payments  3.. their orders, then, for each number of log entries that an entry of the stream
--       may hold: that number, how many hold so many, and their ids (at most 5000 in all)
-- Reply 1 the number of log entries that this call settled   2 of those, how many nobody had counted as appended
-- Error FENCED stamp|lease
-- @include fence
local fenced = fence(KEYS[1])
if fenced then return fenced end

-- So many may wait for a worker; what is beyond them is found in Postgres.
local PAYMENTS_MAX = 100000
local payments = tonumber(ARGV[2])

-- Calls `each` with the number of log entries that each of these holds, and where their ids stand in ARGV.
local function each_size(each)
  local at = 3 + payments
  while at < #ARGV do
    local last = at + 1 + ARGV[at + 1]
    each(tonumber(ARGV[at]), at + 2, last)
    at = last + 1
  end
end

local settled = 0
each_size(function(held, first, last)
  settled = settled + held * redis.call('XACK', KEYS[2], ARGV[1], unpack(ARGV, first, last))
end)
if settled == 0 then return { 0, 0 } end
local all = redis.call('HINCRBY', KEYS[1], 'settled', settled)
-- Entries that another hand wrote into the log were settled like any other, and never counted. They are now: a backlog
-- below zero would let that many claims past backlog_max.
local uncounted = math.max(0, all - tonumber(redis.call('HGET', KEYS[1], 'appended') or 0))
if uncounted > 0 then redis.call('HINCRBY', KEYS[1], 'appended', uncounted) end
for i = 3, 2 + payments do
  redis.call('XADD', KEYS[4], 'MAXLEN', '~', PAYMENTS_MAX, '*', 'order', ARGV[i])
end
-- One message for the batch, and none where nobody listens. pcall: a user without rights to the channel settles too.
local listeners = redis.pcall('PUBSUB', 'SHARDNUMSUB', KEYS[3])[2]
if (tonumber(listeners) or 0) > 0 then
  local words = {}
  each_size(function(held, first, last)
    for i = first, last do words[#words + 1] = held == 1 and ARGV[i] or ARGV[i] .. ':' .. held end
  end)
  redis.pcall('SPUBLISH', KEYS[3], table.concat(words, ' '))
end
return { settled, uncounted }
