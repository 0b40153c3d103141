-- The first entry that is pending or undelivered: everything below it is persisted. '' where there is none; nil where
-- there is no such group.
local function oldest_unsettled(log_key, group_name)
  local delivered = last_delivered(log_key, group_name)
  if not delivered then return nil end
  local pending = redis.call('XPENDING', log_key, group_name)
  if pending[1] > 0 then return pending[2] end
  local entry = redis.call('XRANGE', log_key, '(' .. delivered, '+', 'COUNT', 1)[1]
  return entry and entry[1] or ''
end
