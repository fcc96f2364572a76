-- wrk's side of a run: one request for each token of a file, round and round where REPEAT=1; where
-- REPEAT=0 a token that comes twice is counted, so that the run can be thrown away.

local function slurp(name)
  local file = assert(io.open(os.getenv(name), 'rb'))
  local text = file:read('*a')
  file:close()
  return text
end

local threads = {}
function setup(thread)
  threads[#threads + 1] = thread
end

local next_token, tokens, head, tail = 0, {}, nil, nil
local whole = {}
repeated = 0

function init()
  for token in slurp('TOKENS'):gmatch('[^\n]+') do
    tokens[#tokens + 1] = token
  end
  local body = slurp('BODY')
  local extra = (os.getenv('HEADERS') or ''):gsub('\n', '\r\n')
  head = 'POST ' .. os.getenv('REQUEST_PATH') .. ' HTTP/1.1\r\nHost: ' .. os.getenv('REQUEST_HOST') ..
    '\r\nContent-Type: application/json\r\n' .. extra ..
    'Content-Length: ' .. #body .. '\r\nAuthorization: Bearer '
  tail = '\r\n\r\n' .. body
  next_token = tonumber(os.getenv('SKIP') or '0')
  if os.getenv('REPEAT') == '1' then
    for i, token in ipairs(tokens) do
      whole[i] = head .. token .. tail
    end
  end
end

function request()
  next_token = next_token + 1
  if next_token > #tokens then
    next_token = 1
    repeated = repeated + 1
  end
  return whole[next_token] or head .. tokens[next_token] .. tail
end

function done(summary, latency)
  local wraps = 0
  for _, thread in ipairs(threads) do
    wraps = wraps + thread:get('repeated')
  end
  local e = summary.errors
  io.write(string.format(
    '\nRESULT {"requests":%d,"durationUs":%d,"bytes":%d,"p50Us":%d,"p99Us":%d,"refused":%d,"broken":%d,"wraps":%d}\n',
    summary.requests, summary.duration, summary.bytes,
    latency:percentile(50), latency:percentile(99),
    e.status, e.connect + e.read + e.write + e.timeout, wraps))
end
