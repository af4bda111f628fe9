#!lua
-- Opens a group, or adds members to one just opened. Refused when the server is out of memory.
-- KEYS: open g: m:
-- ARGV: id, plan, seconds to keep it, ids of members
-- Returns: nothing of interest
-- Invariant: a group that is not closed is in open.
local OPEN, G, M = KEYS[1], KEYS[2], KEYS[3]
local time = redis.call('TIME')
local now = string.format('%.6f', time[1] + time[2] / 1000000)
if redis.call('EXISTS', G) == 0 then
  redis.call('HSET', G, 'plan', ARGV[2], 'keep', ARGV[3], 'at', now, 'total', 0, 'pending', 0,
    'failed', 0, 'place', 0)
  redis.call('ZADD', OPEN, now, ARGV[1])
end
local counts = redis.call('HMGET', G, 'total', 'pending')
local total, pending = tonumber(counts[1]), tonumber(counts[2])
for i = 4, #ARGV do
  if not redis.call('ZSCORE', M, ARGV[i]) then
    redis.call('ZADD', M, 4 * total, ARGV[i])
    total, pending = total + 1, pending + 1
  end
end
return redis.call('HSET', G, 'total', total, 'pending', pending)
