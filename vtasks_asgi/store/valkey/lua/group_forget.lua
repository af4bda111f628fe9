#!lua flags=allow-oom
-- Forgets a group whose time is over.
-- KEYS: closed g: m:
-- ARGV: id
-- Returns: nothing of interest
-- Invariant: nothing of it is left.
redis.call('DEL', KEYS[2], KEYS[3])
return redis.call('ZREM', KEYS[1], ARGV[1])
