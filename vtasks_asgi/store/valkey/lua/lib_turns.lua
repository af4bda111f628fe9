-- Taking messages where lines take turns. The hash turn has the line that had the last one, '' for
-- those without a line, by priority. A claim costs by how many it takes: each is one look.
local function first_of(line, low, high)
  return redis.call('ZRANGEBYLEX', line, low, high, 'LIMIT', 0, 1)[1]
end

-- The first message without a line, if it is of this priority: its id, and its place.
local function first_ready(ready, band)
  local first = redis.call('ZRANGE', ready, 0, 0, 'WITHSCORES')
  local place = tonumber(first[2])
  if place and place < LINED and math.floor(place / BAND) + 300 == band then
    return first[1], place
  end
end

-- Take one of this priority: the id, its place and its line; nothing at the end.
local function take_next(ready, line, band, last)
  local head = string.format('%03d', band)
  local high, low = '(' .. head .. ':', last == '' and '[' .. head or '(' .. head .. last .. ':'
  while true do
    local member, id, place = first_of(line, low, high), nil, nil
    if not member then id, place = first_ready(ready, band) end
    if id then
      redis.call('ZREM', ready, id)
      return id, place, ''
    end
    member = member or first_of(line, '[' .. head, high)
    if not member then return end
    id = string.sub(member, 32)
    redis.call('ZREM', line, member)
    -- Left behind by a stranger, if it is no longer ready.
    if redis.call('ZREM', ready, id) == 1 then
      return id, place_of(member), string.sub(member, 4, 17)
    end
  end
end

-- The best priority of which anything is ready, as entries have it.
local function best_band(ready, line)
  local first = redis.call('ZRANGE', ready, 0, 0, 'WITHSCORES')
  local place, lined = tonumber(first[2]), redis.call('ZRANGE', line, 0, 0)[1]
  local band = place and place < LINED and math.floor(place / BAND) + 300 or math.huge
  if lined then band = math.min(band, tonumber(string.sub(lined, 1, 3))) end
  return band < math.huge and band or nil
end

-- Take up to limit messages, by priority and then by turns: id, place of each, as ZPOPMIN has it.
local function take_turns(ready, line, turn, limit)
  local taken, count = {}, 0
  while count < limit do
    local band = best_band(ready, line)
    if not band then break end
    local last = redis.call('HGET', turn, band) or ''
    while count < limit do
      local id, place, of = take_next(ready, line, band, last)
      if not id then break end
      count, last = count + 1, of
      taken[2 * count - 1], taken[2 * count] = id, string.format('%.0f', place)
    end
    redis.call('HSET', turn, band, last)
  end
  return taken
end
