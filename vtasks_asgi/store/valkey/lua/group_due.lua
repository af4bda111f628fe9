#!lua flags=allow-oom
-- Says which groups are past their time, and which open ones are to be looked at, and notes the look.
-- KEYS: open closed
-- ARGV: how many at the most of each, seconds since the last look
-- Returns: ids of those past their time, ids of those to be looked at
-- Invariant: no two who ask at once are told the same one to look at.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local function first(key, bound)
  return redis.call('ZRANGEBYSCORE', key, '-inf', string.format('%.6f', bound), 'LIMIT', 0, ARGV[1])
end
local over, due = first(KEYS[2], now), first(KEYS[1], now - ARGV[2])
for i = 1, #due do redis.call('ZADD', KEYS[1], string.format('%.6f', now), due[i]) end
return {over, due}
