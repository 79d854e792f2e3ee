-- The check of a request: what stands at the keys, and by which head. What is no text is told from what is not there.
local head = redis.call('HMGET', KEYS[1], 'epoch', 'version', 'state', 'evicted')
local evicted = string.match(redis.call('INFO', 'stats'), 'evicted_keys:(%d+)')
local reply = {head[1] or '', head[2] or '', head[3] or '', (evicted and evicted == head[4]) and 1 or 0}
for i = 2, #KEYS do
    local value = redis.pcall('GET', KEYS[i])
    if type(value) == 'table' then value = '!' end
    reply[3 + i] = value
end
return reply
