-- Refuses unless this partition was opened with the very stamp compiled into this text, and its lease runs.
-- STAMP ("<partition>:<epoch>:<nonce>") stands above; see ARCHITECTURE.md, "The fence".
-- Returns nil and the time in ms when open, else an error reply.
local function fence(meta_key)
  local meta = redis.call('HMGET', meta_key, 'stamp', 'lease_until')
  if meta[1] ~= STAMP then
    return redis.error_reply('FENCED stamp')
  end
  local time = redis.call('TIME')
  local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
  if now_ms > (tonumber(meta[2]) or 0) then
    return redis.error_reply('FENCED lease')
  end
  return nil, now_ms
end
