-- forget: remove consumer names that hold nothing.
--
-- KEYS  log        ARGV  group, consumer names...        -> names removed
--
-- Guarantee: a name with pending entries stays, and so do its entries.
local removed = 0
for i = 2, #ARGV do
  if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[i]) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[i])
    removed = removed + 1
  end
end
return removed
