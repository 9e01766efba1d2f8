-- take: append events that came by plain PUBLISH, refusing ids seen lately.
--
-- KEYS  log, head, beginning of the keys of ids seen, beginning of the per-second statistics
-- ARGV  live channel, epoch if the log is new, PUBLISH|SPUBLISH, push unheard 0|1, channel, statistics seconds,
--       seconds to remember an id, then id and event, id and event...
-- -> {taken, duplicates}
--
-- Guarantee: of several events with one id within that time only the first is appended. An empty id is never a duplicate.
local fresh, duplicates = {}, 0
for i = 8, #ARGV, 2 do
  if ARGV[i] == '' or redis.call('SET', KEYS[3] .. ARGV[i], '1', 'NX', 'EX', ARGV[7]) then
    fresh[#fresh + 1] = ARGV[i + 1]
  else
    duplicates = duplicates + 1
  end
end
if #fresh > 0 then
  local _, ms, _, bytes = append(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4], fresh, 1, #fresh)
  tally(KEYS[4], ms, ARGV[6], {'pub:' .. ARGV[5], #fresh, 'bytes:' .. ARGV[5], bytes})
end
return {#fresh, duplicates}
