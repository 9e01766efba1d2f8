-- publish: append a batch of one producer to one partition: fence, bound, append, push.
--
-- KEYS  log, head, fence, beginning of the per-second statistics
-- ARGV  live channel, epoch if the log is new, PUBLISH|SPUBLISH, push unheard 0|1, sequence of the first event, depth limit,
--       fence seconds, channel, statistics seconds, events...
-- -> {'ok'|'full', sequence now held, added, newest position, epoch, first sequence and newest position of the call before}
--    {'ahead', sequence now held}   the batch begins after a gap: send again from the next sequence
--
-- Guarantee: an event is appended once however often its batch is sent, in the order of the sequence, and never beyond the
-- depth limit: a full partition takes the events it has room for and leaves the rest.
local live, candidate, verb, all = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local first, limit, channel = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[8]
local begin, stop = 10, #ARGV

local taken, since, where = 0, '', ''
local held = redis.call('GET', KEYS[3])
if held then
  taken, since, where = string.match(held, '^(%d+) (%d+) (%S+)$')
  taken = tonumber(taken)
end
if first > taken + 1 then
  return {'ahead', taken}
end
local at = begin + taken - first + 1
if at > stop then
  return {'ok', taken, 0, '', '', since, where}
end

local length = redis.call('XLEN', KEYS[1])
if length + stop - at + 1 > limit then
  local depth = 0
  if length > 0 then
    for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
      local lag, pending
      for i = 1, #group, 2 do
        if group[i] == 'lag' then lag = group[i + 1] end
        if group[i] == 'pending' then pending = group[i + 1] end
      end
      depth = math.max(depth, math.min((tonumber(lag) or length) + tonumber(pending), length))
    end
  end
  stop = math.min(stop, at + limit - depth - 1)
  if stop < at then
    return {'full', taken, 0, '', '', since, where}
  end
end

local added = stop - at + 1
local id, ms, epoch, bytes = append(KEYS[1], KEYS[2], live, candidate, verb, all, ARGV, at, stop)
local now_held = first + stop - begin
redis.call('SET', KEYS[3], string.format('%d %d ', now_held, taken + 1) .. id, 'EX', ARGV[7])
tally(KEYS[4], ms, ARGV[9], {'pub:' .. channel, added, 'bytes:' .. channel, bytes})
return {stop == #ARGV and 'ok' or 'full', now_held, added, id, epoch, since, where}
