#!lua flags=allow-oom
-- Holds claims for longer.
-- KEYS: own lease
-- ARGV: lease in seconds, then id, token of each
-- Returns: the positions (from 1) of claims already lost
-- Invariant: only the holder of the current token moves a lease.
local OWN, LEASE = KEYS[1], KEYS[2]
local time = redis.call('TIME')
local expiry = time[1] + time[2] / 1000000 + ARGV[1]

local ids, held, lost = {}, {}, {}
for i = 1, (#ARGV - 1) / 2 do ids[i] = ARGV[2 * i] end
local owns = redis.call('HMGET', OWN, unpack(ids))
for i, id in ipairs(ids) do
  if owns[i] and string.sub(owns[i], 1, 16) == ARGV[2 * i + 1] then
    held[#held + 1] = expiry
    held[#held + 1] = id
  else
    lost[#lost + 1] = i
  end
end
if #held > 0 then redis.call('ZADD', LEASE, unpack(held)) end
return lost
