-- A message in a line is in ready like others, but behind all of those, where no claim by priority
-- comes; and it is in the sorted set line, whose members are in the order of lines: its entry, that
-- is its priority (300 - priority), line and sequence number in 3, 14 and 14 digits, and its id.
-- The hash l has the entry of each message that has a line, as long as it may wait again.
local LINED, BAND = 2 ^ 52, 2 ^ 45

local function entry_of(place, line)
  local band = math.floor(place / BAND)
  return string.format('%03d%014.0f%014.0f', band + 300, line, place - band * BAND)
end

local function number_of(entry) return tonumber(string.sub(entry, 18, 31)) end

-- Of each of these its entry, if it has one; nothing at all where no message has.
local function entries_of(l, ids)
  return redis.call('EXISTS', l) == 1 and redis.call('HMGET', l, unpack(ids)) or {}
end

-- What of these is ready in a line is so no longer.
local function leave_lines(l, line, ids)
  local members = {}
  for i, entry in ipairs(entries_of(l, ids)) do
    if entry then members[#members + 1] = entry .. ids[i] end
  end
  if #members > 0 then redis.call('ZREM', line, unpack(members)) end
end

local function place_of(entry)
  return (tonumber(string.sub(entry, 1, 3)) - 300) * BAND + number_of(entry)
end
