-- resume: what a subscriber needs to go on after a position, seen in one moment.
--
-- KEYS  log, head        ARGV  last position seen, most entries
-- -> {head or '', oldest position in the log or '', newest position at or before the last one seen or '', entries after it}
--
-- Guarantee: the four belong together, so that a gap, a trimmed span, a log that went back and a replaced log can be told apart.
local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
local before = redis.call('XREVRANGE', KEYS[1], ARGV[1], '-', 'COUNT', 1)[1]
local after = redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', ARGV[2])
return {redis.call('GET', KEYS[2]) or '', oldest and oldest[1] or '', before and before[1] or '', after}
