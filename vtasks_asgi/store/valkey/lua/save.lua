#!lua
-- Writes a note, fenced by its claim's token. Refused when the server is out of memory.
-- KEYS: own n
-- ARGV: id, token, and the note, unless there is none
-- Returns: 1, or 0 when the claim was lost
-- Invariant: only the holder of the current token changes a note.
local own = redis.call('HGET', KEYS[1], ARGV[1])
if not own or string.sub(own, 1, 16) ~= ARGV[2] then return 0 end
if ARGV[3] then
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
else
  redis.call('HDEL', KEYS[2], ARGV[1])
end
return 1
