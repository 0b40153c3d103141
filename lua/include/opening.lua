-- Refuses unless the partition is being opened under this very token: a keeper that was stopped and wakes
-- late finds another token, or none, and harms nothing.
local function opening(meta_key, token)
  local meta = redis.call('HMGET', meta_key, 'state', 'token')
  if meta[1] ~= 'opening' or meta[2] ~= token then
    return redis.error_reply('SUPERSEDED ' .. tostring(meta[1]))
  end
  return nil
end
