#!lua flags=no-writes,allow-oom
-- Says what is paused.
-- KEYS: pause
-- ARGV: none
-- Returns: what is paused, when that ends in epoch seconds or '', of each
-- Invariant: changes nothing.
-- INCLUDE: lib_pause
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local noted, told = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #noted, 2 do
  local ends = pause_end(noted[i + 1], now)
  if ends then
    told[#told + 1] = noted[i]
    told[#told + 1] = ends < math.huge and noted[i + 1] or ''
  end
end
return told
