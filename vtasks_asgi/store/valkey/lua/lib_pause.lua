-- When a pause ends (math.huge: not by itself); nil when there is none in force.
local function pause_end(value, now)
  if not value then return nil end
  local ends = tonumber(value) or math.huge
  return ends > now and ends or nil
end
