#!lua flags=allow-oom
-- Begins an opening: from here no stamped script passes. Run by the keeper only, with EVAL.
--
-- Guarantee: only a higher epoch replaces an opening.
-- KEYS  1 meta
-- ARGV  1 epoch   2 token   3 version of the key layout
-- Reply 1 the state that was there before ("" for none)   2 entries that were appended   3 settled: since the last opening's
--       entry   4, which is this one ("" for none)
-- Error SUPERSEDED epoch;  LAYOUT version
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'layout', 'state', 'appended', 'settled', 'opening')
if meta[1] and tonumber(meta[1]) >= tonumber(ARGV[1]) then
  return redis.error_reply('SUPERSEDED ' .. meta[1])
end
-- A version knows what all before it have written.
if meta[2] and (tonumber(meta[2]) or math.huge) > tonumber(ARGV[3]) then
  return redis.error_reply('LAYOUT ' .. meta[2])
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'token', ARGV[2], 'layout', ARGV[3], 'state', 'opening')
redis.call('HDEL', KEYS[1], 'stamp', 'lease_until')
return { meta[3] or '', tonumber(meta[4] or 0), tonumber(meta[5] or 0), meta[6] or '' }
