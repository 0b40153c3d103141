-- Appends orders to the log as one entry of the stream, each in a field of its own: to append, deliver and acknowledge an
-- entry costs Redis more than what stands in it, and writes more to its file.
-- They stand at consecutive positions, of which the entry's id is the last: whatever is at or below an id is in the entries
-- up to it, and XRANGE from an order's position begins with the entry that holds it.
-- Returns the milliseconds, as text, and the sequence of the first.
local function append_orders(log_key, now_ms, fields)
  local count = #fields / 2
  local function behind(ms, seq, call)
    local added = call('XADD', log_key, ms .. '-' .. seq + count, unpack(fields))
    return type(added) == 'string' and ms, seq + 1
  end

  -- There may be entries of this millisecond, and of later ones where the clock was put back.
  local newest = redis.call('XREVRANGE', log_key, '+', now_ms .. '-0', 'COUNT', 1)[1]
  local ms, seq = string.format('%d', now_ms), -1
  if newest then ms, seq = string.match(newest[1], '(%d+)-(%d+)') end
  local first_ms, first_seq = behind(ms, seq, redis.pcall)
  if first_ms then return first_ms, first_seq end
  -- The log has given out a later id, of an entry that somebody deleted.
  local info = redis.call('XINFO', 'STREAM', log_key)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      ms, seq = string.match(info[i + 1], '(%d+)-(%d+)')
      return behind(ms, seq, redis.call)
    end
  end
end
