-- How many replicas follow this server for certain: online, and heard from within the last two seconds. One that was
-- promoted, or cut off together with whoever would promote it, is not among them for longer than that.
-- (They acknowledge every second: https://redis.io/docs/latest/commands/info/, "slaveXXX".)
local function healthy_replicas(replication)
  local healthy = 0
  for state, lag_s in string.gmatch(replication, 'slave%d+:[^\r\n]-state=([%w_]+)[^\r\n]-lag=(%-?%d+)') do
    if state == 'online' and tonumber(lag_s) <= 2 then healthy = healthy + 1 end
  end
  return healthy
end
