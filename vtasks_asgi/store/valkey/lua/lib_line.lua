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

local function place_of(entry)
  return (tonumber(string.sub(entry, 1, 3)) - 300) * BAND + number_of(entry)
end
