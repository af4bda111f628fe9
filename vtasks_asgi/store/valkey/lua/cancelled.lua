#!lua flags=no-writes,allow-oom
-- Says which claims were cancelled, and still hold.
-- KEYS: own c
-- ARGV: id, token of each
-- Returns: their positions (from 1)
-- Invariant: changes nothing.
local OWN, C = KEYS[1], KEYS[2]
local told = {}
if redis.call('EXISTS', C) == 0 then return told end
local ids = {}
for i = 1, #ARGV / 2 do ids[i] = ARGV[2 * i - 1] end
local owns, marks = redis.call('HMGET', OWN, unpack(ids)), redis.call('HMGET', C, unpack(ids))
for i = 1, #ids do
  if marks[i] and owns[i] and string.sub(owns[i], 1, 16) == ARGV[2 * i] then told[#told + 1] = i end
end
return told
