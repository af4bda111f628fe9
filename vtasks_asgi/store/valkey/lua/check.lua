#!lua flags=no-writes,allow-oom
-- Says which commands of the other scripts the user may not use here.
-- KEYS: t
-- ARGV: none
-- Returns: their names
-- Invariant: changes nothing.
local NEEDED = {
  {'TIME'}, {'EXISTS', 'k'}, {'DEL', 'k'}, {'SET', 'k', 'v'}, {'INCR', 'k'}, {'INCRBY', 'k', '1'},
  {'HSET', 'k', 'f', 'v'}, {'HGET', 'k', 'f'}, {'HMGET', 'k', 'f'}, {'HDEL', 'k', 'f'},
  {'HEXISTS', 'k', 'f'}, {'HGETALL', 'k'}, {'HSCAN', 'k', '0'},
  {'ZADD', 'k', '1', 'm'}, {'ZREM', 'k', 'm'}, {'ZCARD', 'k'}, {'ZCOUNT', 'k', '0', '1'},
  {'ZRANGE', 'k', '0', '1'}, {'ZRANGEBYSCORE', 'k', '0', '1'}, {'ZRANGEBYLEX', 'k', '-', '+'},
  {'ZPOPMIN', 'k'},
  {'ZSCORE', 'k', 'm'}, {'ZMSCORE', 'k', 'm'}, {'ZLEXCOUNT', 'k', '-', '+'}, {'SADD', 'k', 'm'},
  {'SMEMBERS', 'k'}, {'PUBLISH', 'k', ''}, {'SUBSCRIBE', 'k'},
}
local missing = {}
for _, command in ipairs(NEEDED) do
  if command[2] == 'k' then command[2] = KEYS[1] end
  local known, allowed = pcall(redis.acl_check_cmd, unpack(command))
  if known and not allowed then missing[#missing + 1] = command[1] end
end
return missing
