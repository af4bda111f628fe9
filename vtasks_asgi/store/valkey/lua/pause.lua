#!lua flags=allow-oom
-- Notes a pause, or when it ends from now on.
-- KEYS: pause
-- ARGV: what is paused, when that ends in epoch seconds or ''
-- Returns: nothing of interest
-- Invariant: claim obeys the field 'until' of its queue; tasks are fields of one hash of their own.
return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
