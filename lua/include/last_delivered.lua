-- The last entry id that the group has handed out; nil where there is no such group.
local function last_delivered(log_key, group_name)
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', log_key)) do
    local info = {}
    for i = 1, #group, 2 do info[group[i]] = group[i + 1] end
    if info['name'] == group_name then return info['last-delivered-id'] end
  end
  return nil
end
