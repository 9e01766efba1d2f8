-- commit: decide a batch of entries of one group, once and for all: prove that all are pending, then write everything.
--
-- KEYS  source log, beginning of the per-second statistics, then whatever the numbers below point to
-- ARGV  group, consumer name of this read, entries of it that stay pending (for retry; -1: this is only a part of the
--       read, look at each entry), lease key number or 0, lease token,
--       epoch for new logs, PUBLISH|SPUBLISH, push unheard 0|1, statistics seconds,
--       n, n positions,
--       n outputs:  log number (its head is the next key), live channel, channel, m, m events
--       n counters: field, amount
--       n saves:    hash number, seconds to live or 0, m, m fields and values (2m arguments)
--       n drops:    hash number, m, m fields
--       n replies:  live channel, payload
-- -> {1, newest position of each output...}
--    {0, positions that are still pending...}   nothing was written: somebody else has decided the others
--    {-1}                                       nothing was written: the lease belongs to another
--
-- Guarantee: acknowledgement, results, statistics, saved state and replies of a batch happen together or not at all, and
-- for each entry once. Counting is sound where a consumer name serves one read and all of it is decided here: its pending
-- list never holds other entries.
-- The first write is one that fails before anything happened when the server is out of memory.
local at = 0
local function take()
  at = at + 1
  return ARGV[at]
end
local function count()
  return tonumber(take())
end

local log = KEYS[1]
local group, me, kept, lease, token = take(), take(), count(), count(), take()
local candidate, verb, all, ttl = take(), take(), take(), take()
local n = count()
local a, b = at + 1, at + n
at = b

if lease > 0 and redis.call('GET', KEYS[lease]) ~= token then
  return {-1}
end

local alone = true
if n > 0 then
  local mine = 0
  local summary = redis.call('XPENDING', log, group)
  for _, consumer in ipairs(summary[4] or {}) do
    if consumer[1] == me then mine = tonumber(consumer[2]) end
  end
  if kept < 0 or mine ~= n + kept then
    alone = false
    local left = {0}
    for i = a, b do
      if #redis.call('XPENDING', log, group, ARGV[i], ARGV[i], 1) == 1 then left[#left + 1] = ARGV[i] end
    end
    if #left <= n then
      return left
    end
  end
end

local answer, tallies, ms = {1}, {}, nil
for _ = 1, count() do
  local key, live, channel, m = count(), take(), take(), count()
  local id, appended_ms, _, bytes = append(KEYS[key], KEYS[key + 1], live, candidate, verb, all, ARGV, at + 1, at + m)
  at = at + m
  ms = ms or appended_ms
  answer[#answer + 1] = id
  tallies[#tallies + 1] = 'pub:' .. channel
  tallies[#tallies + 1] = m
  tallies[#tallies + 1] = 'bytes:' .. channel
  tallies[#tallies + 1] = bytes
end
for _ = 1, count() do
  tallies[#tallies + 1] = take()
  tallies[#tallies + 1] = take()
end
if #tallies > 0 then
  tally(KEYS[2], ms or tonumber(redis.call('TIME')[1]) * 1000, ttl, tallies)
end
for _ = 1, count() do
  local key, seconds, m = KEYS[count()], count(), 2 * count()
  for i = at + 1, at + m, 4000 do
    redis.call('HSET', key, unpack(ARGV, i, math.min(i + 3999, at + m)))
  end
  at = at + m
  if seconds > 0 then redis.call('EXPIRE', key, seconds) end
end
for _ = 1, count() do
  local key, m = KEYS[count()], count()
  for i = at + 1, at + m, 4000 do
    redis.call('HDEL', key, unpack(ARGV, i, math.min(i + 3999, at + m)))
  end
  at = at + m
end
for i = a, b, 4000 do
  redis.call('XACK', log, group, unpack(ARGV, i, math.min(i + 3999, b)))
end
if n > 0 and kept <= 0 and (alone or #redis.call('XPENDING', log, group, '-', '+', 1, me) == 0) then
  redis.call('XGROUP', 'DELCONSUMER', log, group, me)
end
for _ = 1, count() do
  redis.call('PUBLISH', take(), take())
end
return answer
