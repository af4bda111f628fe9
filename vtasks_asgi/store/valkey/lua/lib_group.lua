-- A group as an onlooker sees it; nil when it is not kept.
local function told(G, now)
  local it = redis.call('HMGET', G, 'plan', 'total', 'pending', 'failed', 'at', 'expires')
  if not it[1] or (it[6] and tonumber(it[6]) <= now) then return nil end
  return it
end

-- The same if no member is pending and it is not closed.
local function completed(G, now)
  local it = told(G, now)
  return it and not it[6] and tonumber(it[3]) == 0 and it or nil
end
