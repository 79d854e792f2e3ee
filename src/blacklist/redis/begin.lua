-- Begins a new epoch, in which everything is loaded, if what was seen is still there. ARGV: what that was, its epoch, the new epoch,
-- the lifetime of the head, and the position to go on from afterwards ('' for where the load begins).
local head = redis.pcall('HMGET', KEYS[1], 'epoch')
local found, epoch = 'head', ''
if head.err then found = '!' else epoch = head[1] or '' end
if found ~= ARGV[1] or epoch ~= ARGV[2] then return 0 end
local server = string.match(redis.call('INFO', 'server'), 'run_id:([^\r\n]*)') or ''
local copy = string.match(redis.call('INFO', 'replication'), 'master_replid:([^\r\n]*)') or ''
local evicted = string.match(redis.call('INFO', 'stats'), 'evicted_keys:([^\r\n]*)') or ''
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'epoch', ARGV[3], 'version', 1, 'state', 'loading', 'position', ARGV[5],
    'server', server .. copy, 'evicted', evicted)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
