-- How it stands: who this server is and what it may do with keys, its time, and the head.
local function info(section, name)
    return string.match(redis.call('INFO', section), name .. ':([^\r\n]*)') or ''
end
local time = redis.call('TIME')
local head = redis.pcall('HMGET', KEYS[1], 'epoch', 'version', 'state', 'position', 'server', 'evicted', 'asked')
local found = head.err and '!' or 'head'
if head.err then head = {} end
local reply = {
    info('server', 'run_id') .. info('replication', 'master_replid'), info('memory', 'maxmemory_policy'), info('stats', 'evicted_keys'),
    time[1] * 1000 + math.floor(time[2] / 1000), found,
}
for i = 1, 7 do reply[5 + i] = head[i] or '' end
return reply
