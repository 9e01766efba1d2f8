-- release: give up a lease.
--
-- KEYS  lease        ARGV  token        -> 1 given up, 0 was not ours
--
-- Guarantee: a lease of another stays.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
