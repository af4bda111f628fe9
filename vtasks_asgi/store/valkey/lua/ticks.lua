#!lua flags=no-writes,allow-oom
-- Reads the clock, the last ticks, and the intents somebody left behind.
-- KEYS: last intents
-- ARGV: seconds after which an intent counts as left behind, then schedules
-- Returns: now; the last tick of each schedule or false; schedule, intent of what was left behind
-- Invariant: changes nothing.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local last = {}
for i = 2, #ARGV do last[i - 1] = redis.call('HGET', KEYS[1], ARGV[i]) end
local left = {}
local intents = redis.call('HGETALL', KEYS[2])
for i = 1, #intents, 2 do
  local value = intents[i + 1]
  if #value < 16 or struct.unpack('>d', value) <= now - ARGV[1] then
    left[#left + 1] = intents[i]
    left[#left + 1] = value
  end
end
return {string.format('%.6f', now), last, left}
