#!lua flags=allow-oom
-- Forgets an intent that was carried out.
-- KEYS: intents
-- ARGV: schedule, 8 bytes of `at` (big-endian double)
-- Returns: 1 or 0
-- Invariant: the intent of another tick stays.
local pending = redis.call('HGET', KEYS[1], ARGV[1])
if not pending or string.sub(pending, 9, 16) ~= ARGV[2] then return 0 end
return redis.call('HDEL', KEYS[1], ARGV[1])
