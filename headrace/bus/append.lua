-- append: shared by every script that writes a log; the scripts publish, commit and take begin with this text.
--
-- Guarantee: an event gets the next dense number of its partition, is in the log and was pushed to the live side, all in
-- the caller's one atomic step. The head key always names the newest entry. A log that was emptied or deleted gets a new
-- epoch, so that nobody takes the new one for the old one.

-- Where the next event goes: epoch, milliseconds (never going back), number of the newest event.
local function open_log(log, head, candidate)
  local now = redis.call('TIME')
  local ms = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
  local held = redis.call('GET', head)
  if held then
    local epoch, last_ms, number = string.match(held, '^(%S+) (%d+)%-(%d+)$')
    last_ms = tonumber(last_ms)
    if redis.call('XLEN', log) > 0 then
      return epoch, math.max(ms, last_ms), tonumber(number)
    end
    return candidate, math.max(ms, last_ms + 1), 0
  end
  return candidate, ms, 0
end

-- One envelope [epoch, [position, event, ...]] in the codec of its events. parts[1] is free for the header: one concatenation.
local function envelope(epoch, json, parts, count)
  if json then
    parts[1] = '["' .. epoch .. '",['
    parts[#parts + 1] = ']]'
  else
    local size = 2 * count
    local array = size < 16 and string.char(0x90 + size) or string.char(0xdc, math.floor(size / 256), size % 256)
    parts[1] = string.char(0x92, 0xa0 + #epoch) .. epoch .. array
  end
  return table.concat(parts)
end

-- Append events[from..to]. verb is PUBLISH or SPUBLISH; all ~= '1' stops pushing once nobody hears.
-- Returns the newest position, its milliseconds, the epoch and the bytes appended.
local function append(log, head, live, candidate, verb, all, events, from, to)
  local epoch, ms, number = open_log(log, head, candidate)
  local stamp = string.format('%d', ms) .. '-'
  local parts, count, size, bytes, json, heard = {''}, 0, 0, 0, false, true
  -- The first gets its number here, the others the next ones from the server, which spells them out quicker.
  local place, following, id = stamp .. string.format('%d', number + 1), stamp .. '*', nil
  for i = from, to do
    local event = events[i]
    id = redis.call('XADD', log, place, 'e', event)
    place = following
    bytes = bytes + #event
    if heard then
      local is_json = string.byte(event) < 0x80
      if count > 0 and (is_json ~= json or size > 4000 or count == 30000) then
        heard = redis.call(verb, live, envelope(epoch, json, parts, count)) > 0 or all == '1'
        parts, count, size = {''}, 0, 0
      end
      json = is_json
      if json then
        parts[#parts + 1] = (count > 0 and ',"' or '"') .. id .. '",'
      else
        parts[#parts + 1] = string.char(0xa0 + #id) .. id
      end
      parts[#parts + 1] = event
      count = count + 1
      size = size + #event
    end
  end
  redis.call('SET', head, epoch .. ' ' .. id)
  if heard and count > 0 then
    redis.call(verb, live, envelope(epoch, json, parts, count))
  end
  return id, ms, epoch, bytes
end

-- Add to the counters of the second of ms. The first of a second starts its time to live.
local function tally(prefix, ms, ttl, pairs_)
  local key = prefix .. string.format('%d', math.floor(ms / 1000))
  local new = false
  for i = 1, #pairs_, 2 do
    new = redis.call('HINCRBY', key, pairs_[i], pairs_[i + 1]) == tonumber(pairs_[i + 1]) or new
  end
  if new then redis.call('EXPIRE', key, ttl) end
end
