-- group: create a group if it is not there.
--
-- KEYS  log, last making        ARGV  group, 0 (from the first entry) | $ (from now on), name of this making
-- -> 1 created, 0 was there
--
-- Guarantee: the group's lag is right from its first moment, also when it begins at the end.
local there = redis.call('EXISTS', KEYS[1]) == 1
if there then
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    for i = 1, #group, 2 do
      if group[i] == 'name' and group[i + 1] == ARGV[1] then return 0 end
    end
  end
end
redis.call('SET', KEYS[2], ARGV[3], 'EX', 86400)
if there and ARGV[2] == '$' then
  local stream = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #stream, 2 do
    if stream[i] == 'entries-added' then
      redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], '$', 'ENTRIESREAD', stream[i + 1])
      return 1
    end
  end
end
redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], ARGV[2], 'MKSTREAM')
return 1
