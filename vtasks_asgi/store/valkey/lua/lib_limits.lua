-- How limits are written. A meta ends with a tail, and so do the fields of a dead letter: the
-- unique key, and after a NUL the limit, if there is one, as text: how many may run, seconds
-- between two starts ('-' for none), and its key. Busy scripts include this within a function: to
-- make one costs a moment, and most calls need none of these.
local function read_limit(text)
  local most, pace, key = string.match(text, '^([%d-]+) ([%d.e+-]+) (.+)$')
  local limit = {key = key, most = tonumber(most), pace = tonumber(pace)}
  if not key or #key > 64 or string.find(key, '[\128-\255]') then return nil end
  if not limit.most and most ~= '-' or not limit.pace and pace ~= '-' then return nil end
  if (limit.most or 1) < 1 or (limit.pace or 1) <= 0 or limit.pace == math.huge then return nil end
  return (limit.most or limit.pace) and limit or nil
end

-- The limit of a message, by its meta.
local function limit_of(meta)
  local cut = meta and #meta > 24 and string.find(meta, '\0', 25, true)
  return cut and read_limit(string.sub(meta, cut + 1)) or nil
end

-- The index of what has limits is a sorted set whose scores are all 0. A member is: what the
-- message does ('r' it runs, 'w' it waits for a date or its turn in ready, 'h' it is held),
-- length of the key (8 bit), key; of 'w' its date; of 'w' and 'h' its place; and the id.
local function stem_of(kind, key) return kind .. string.char(#key) .. key end

local function member_of(kind, limit, meta, id)
  local stem = stem_of(kind, limit.key)
  if kind == 'r' then return stem .. id end
  local run_at, place = struct.unpack('>dd', meta)
  -- Doubles that are not negative are in the order of their bytes.
  local rank = struct.pack('>d', math.max(0, place + 2 ^ 52)) .. id
  if kind == 'h' then return stem .. rank end
  return stem .. struct.pack('>d', math.max(0, run_at)) .. rank
end

-- Note that these wait for a date or their turn; waiting: id, meta of each, with a limit or without
local function note_waiting(limits, waiting)
  local members = {}
  for i = 1, #waiting, 2 do
    local limit = limit_of(waiting[i + 1])
    if limit then
      members[#members + 1] = 0
      members[#members + 1] = member_of('w', limit, waiting[i + 1], waiting[i])
    end
  end
  if #members > 0 then redis.call('ZADD', limits, unpack(members)) end
end

-- These wait no longer, nor are they held.
local function forget_waiting(limits, waiting)
  local members = {}
  for i = 1, #waiting, 2 do
    local limit = limit_of(waiting[i + 1])
    if limit then
      members[#members + 1] = member_of('w', limit, waiting[i + 1], waiting[i])
      members[#members + 1] = member_of('h', limit, waiting[i + 1], waiting[i])
    end
  end
  if #members > 0 then redis.call('ZREM', limits, unpack(members)) end
end
