#!lua flags=allow-oom
-- Looks at some of the pending members of a group: the next ones at the next look.
-- KEYS: g: m:
-- ARGV: how many at the most
-- Returns: plan, total, pending, failed, at, false; id, place * 4 of each. False when it is not open
-- Invariant: within a few looks each pending member is looked at.
-- INCLUDE: lib_group
local G, M, most = KEYS[1], KEYS[2], tonumber(ARGV[1])
local time = redis.call('TIME')
local it = told(G, time[1] + time[2] / 1000000)
if not it or it[6] then return false end
local place, found = tonumber(redis.call('HGET', G, 'place')), {}
for _ = 1, 20 do
  local some = redis.call('ZRANGEBYSCORE', M, place, '+inf', 'WITHSCORES', 'LIMIT', 0, most)
  for i = 1, #some, 2 do
    if #found == 2 * most then break end
    place = some[i + 1] + 1
    if some[i + 1] % 4 == 0 then
      found[#found + 1] = some[i]
      found[#found + 1] = some[i + 1]
    end
  end
  if #found == 2 * most then break end
  if #some < 2 * most then
    place = 0
    break
  end
end
redis.call('HSET', G, 'place', place)
return {it, found}
