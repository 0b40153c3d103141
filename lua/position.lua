#!lua flags=no-writes
-- Where the log stands: what is persisted without a gap, and how far it reaches.
--
-- KEYS  1 log
-- ARGV  1 group   2 the entry up to which everything was known to be persisted
-- Reply 1 the highest entry id at or below which nothing is undelivered or pending ("" for none)
--       2 the first 8 characters of the last value that stands there (its mark)
--       3 the last entry id   4 number of the stream's entries
--       5 the mark of the entry that was asked for ("" where it is gone: nobody but an operator deletes it)
-- @include last_delivered
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local length = redis.call('XLEN', KEYS[1])
local asked = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])[1]
local function mark(entry) return string.sub(entry[2][#entry[2]], 1, 8) end
local asked_mark = asked and mark(asked) or ''
local delivered = last_delivered(KEYS[1], ARGV[1])
if not delivered then return { '', '', last and last[1] or '', length, asked_mark } end

local pending = redis.call('XPENDING', KEYS[1], ARGV[1])
local upper = delivered
if pending[1] > 0 then upper = '(' .. pending[2] end
local entry = redis.call('XREVRANGE', KEYS[1], upper, '-', 'COUNT', 1)[1]
if not entry then return { '', '', last and last[1] or '', length, asked_mark } end
return { entry[1], mark(entry), last[1], length, asked_mark }
