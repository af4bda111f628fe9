#!lua flags=no-writes,allow-oom
-- A page of ids of one sorted set, after a position that may have left the set since.
-- KEYS: ready sched dead done
-- ARGV: which of the keys (1 to 4), how many, score and id of the position, or '' and ''
-- Returns: id, score of each
-- Invariant: changes nothing. Results past their time (key 4) are not shown.
local SET, LIMIT = KEYS[tonumber(ARGV[1])], tonumber(ARGV[2])
local lowest = '-inf'
if ARGV[1] == '4' then
  local time = redis.call('TIME')
  lowest = string.format('(%.17g', time[1] + time[2] / 1000000)
end
local score, id = tonumber(ARGV[3]), ARGV[4]
local rank = 0
if score then
  -- Binary search among those of the same score, which are in the order of their ids.
  local low = redis.call('ZCOUNT', SET, '-inf', '(' .. ARGV[3])
  local high = low + redis.call('ZCOUNT', SET, ARGV[3], ARGV[3])
  while low < high do
    local middle = math.floor((low + high) / 2)
    if redis.call('ZRANGE', SET, middle, middle)[1] <= id then low = middle + 1
    else high = middle end
  end
  rank = low
end
if ARGV[1] == '4' then
  rank = math.max(rank, redis.call('ZCARD', SET) - redis.call('ZCOUNT', SET, lowest, '+inf'))
end
return redis.call('ZRANGE', SET, rank, rank + LIMIT - 1, 'WITHSCORES')
