#!lua flags=allow-oom
-- One step of an opening: runs a command on one key of the partition, if this opening is still the one.
--
-- KEYS  1 meta   2 the key
-- ARGV  1 token   2 command   3.. its arguments after the key (XGROUP: its subcommand, then those after the key)
-- Reply of the command
-- Error SUPERSEDED state
-- @include opening
local superseded = opening(KEYS[1], ARGV[1])
if superseded then return superseded end

if ARGV[2] == 'XGROUP' then
  return redis.call('XGROUP', ARGV[3], KEYS[2], unpack(ARGV, 4))
end
return redis.call(ARGV[2], KEYS[2], unpack(ARGV, 3))
