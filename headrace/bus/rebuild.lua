-- rebuild: make a group again that was deleted, knowing which entries are decided.
--
-- KEYS  log, last making
-- ARGV  group, name of this making, last making known before it was seen that the group is gone ('' if none),
--       position up to which all is decided, its number, entries after it up to the last decided one,
--       milliseconds that make an entry free to claim, decided positions after it...
-- -> 1 made, 0 was there, -1 made by another and deleted again meanwhile: find out anew what is decided
--
-- Guarantee: nobody ever gets a decided entry again, and everybody else's entries are delivered: those in between are
-- pending and free to claim, those after follow as new. Sound because nothing can be decided while there is no group, and
-- there was none for as long as the last making stayed the same.
local log, group, ahead = KEYS[1], ARGV[1], tonumber(ARGV[6])
if redis.call('EXISTS', log) == 1 then
  for _, there in ipairs(redis.call('XINFO', 'GROUPS', log)) do
    for i = 1, #there, 2 do
      if there[i] == 'name' and there[i + 1] == group then return 0 end
    end
  end
end
if (redis.call('GET', KEYS[2]) or '') ~= ARGV[3] then return -1 end
redis.call('SET', KEYS[2], ARGV[2], 'EX', 86400) -- far longer than anybody reads
redis.call('XGROUP', 'CREATE', log, group, ARGV[4], 'MKSTREAM', 'ENTRIESREAD', ARGV[5])
while ahead > 0 do
  local count = math.min(ahead, 1000)
  redis.call('XREADGROUP', 'GROUP', group, 'rebuilt', 'COUNT', count, 'STREAMS', log, '>')
  ahead = ahead - count
end
for i = 8, #ARGV, 4000 do
  redis.call('XACK', log, group, unpack(ARGV, i, math.min(i + 3999, #ARGV)))
end
for _, left in ipairs(redis.call('XPENDING', log, group, '-', '+', tonumber(ARGV[6]) + 1)) do
  redis.call('XCLAIM', log, group, 'rebuilt', 0, left[1], 'IDLE', ARGV[7], 'JUSTID')
end
return 1
