-- Refuses unless this is the process, and the line of replication, that the keeper opened. A server that was
-- demoted and promoted again keeps its run_id and its scripts, but not its master_replid.
local function same_server(run_id, master_replid)
  local server = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  local replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)')
  if server ~= run_id or replid ~= master_replid then
    return redis.error_reply('SUPERSEDED server')
  end
  return nil
end
