-- lease: take a lease that is free, or renew one's own.
--
-- KEYS  lease        ARGV  token, milliseconds        -> 1 held, 0 another holds it
--
-- Guarantee: at most one token holds the lease; with commit's check, whoever lost it can write nothing.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
