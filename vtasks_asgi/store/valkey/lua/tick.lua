#!lua
-- Records a tick, and with it the intent to push its message, whose queue is in another slot.
-- KEYS: last intents
-- ARGV: schedule, at, intent: '' or 8 bytes of `at` (big-endian double) and the message
-- Returns: 'recorded'; 'late' when it, or a later one, was recorded before; or the intent of an
--   earlier tick, which whoever reads it has to carry out first, and then to try again
-- Invariant: a tick that is recorded is pushed, or its intent is here.
local pending = redis.call('HGET', KEYS[2], ARGV[1])
if pending then return {pending} end
local last = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '')
if last and tonumber(ARGV[2]) <= last then return 'late' end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if ARGV[3] ~= '' then
  local time = redis.call('TIME')
  local now = struct.pack('>d', time[1] + time[2] / 1000000)
  redis.call('HSET', KEYS[2], ARGV[1], now .. ARGV[3])
end
return 'recorded'
