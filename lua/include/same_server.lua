-- Refuses unless this is the process, and the line of replication, that the keeper opened. A server that was
-- demoted and promoted again keeps its run_id and its scripts, but not its master_replid.
-- Returns nil and what INFO says of replication, else an error reply.
local function same_server(run_id, master_replid)
  local server = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  local replication = redis.call('INFO', 'replication')
  if server ~= run_id or string.match(replication, 'master_replid:(%w+)') ~= master_replid then
    return redis.error_reply('SUPERSEDED server')
  end
  return nil, replication
end
