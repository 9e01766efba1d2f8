-- trim: remove old entries that no group needs.
--
-- KEYS  log
-- ARGV  milliseconds: older entries may go; most entries: beyond them the oldest may go; most to remove in this call
-- -> removed
--
-- Guarantee: an entry goes only when every group has committed it. The newest entry and the last one delivered stay, so
-- that a log is never empty and lags stay right. Whole nodes go at a time, so a little more stays than asked for.
local log, oldest_ms, most = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local newest = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
if not newest then return 0 end

local function parse(id)
  local ms, number = string.match(id, '^(%d+)%-(%d+)$')
  return tonumber(ms), tonumber(number)
end
local bound_ms, bound_number = parse(newest[1])
local newest_ms, newest_number = bound_ms, bound_number
local function lower(ms, number)
  if ms < bound_ms or (ms == bound_ms and number < bound_number) then
    bound_ms, bound_number = ms, number
  end
end

-- Retention: the first entry young enough, or the first of the newest `most` entries, whichever is later.
local keep_ms = math.min(oldest_ms, newest_ms)
local excess = redis.call('XLEN', log) - most
if excess > 0 then
  -- Numbers are dense: search the milliseconds for the first entry with the number wanted.
  local wanted = newest_number - most + 1
  local low = parse(redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1][1])
  local high = newest_ms
  while low < high do
    local middle = math.floor((low + high) / 2)
    local found = redis.call('XRANGE', log, string.format('%d', middle), '+', 'COUNT', 1)[1]
    local _, number = parse(found[1])
    if number >= wanted then high = middle else low = middle + 1 end
  end
  keep_ms = math.max(keep_ms, low)
end
lower(keep_ms, 0)

for _, group in ipairs(redis.call('XINFO', 'GROUPS', log)) do
  local name, delivered, pending
  for i = 1, #group, 2 do
    if group[i] == 'name' then name = group[i + 1] end
    if group[i] == 'last-delivered-id' then delivered = group[i + 1] end
    if group[i] == 'pending' then pending = tonumber(group[i + 1]) end
  end
  lower(parse(delivered))
  if pending > 0 then
    lower(parse(redis.call('XPENDING', log, name)[2]))
  end
end
local bound = string.format('%d', bound_ms) .. '-' .. string.format('%d', bound_number)
return redis.call('XTRIM', log, 'MINID', '~', bound, 'LIMIT', ARGV[3])
