-- claims.lua: one new claim per request, for wrk.
--
-- Purpose    POST /v1/sales/{sale}/orders with a buyer and an Idempotency-Key that no other
--            request has: not of this thread, not of another, not of an earlier run.
-- Arguments  name=value, after `--`:
--              sale=demo  sku=TICKET  quantity=1
--              run=ID       identity of the run; random unless given, or given by BENCH_RUN.
--                           The same ID sends the same claims again: all of them are replays.
--              buyers=N     draw on N buyers per thread instead of a new one for each request
--              statuses=1   count each status. wrk then calls Lua for every response, which
--                           costs the load generator a good part of its speed.
-- Output     one line of JSON, last: requests, requests_per_s, p50_ms, p99_ms, status counts.
--
-- Cost       A request is one concatenation of constants and a counter. Everything else is
--            made once in init().

local threads = {}

function setup(thread)
  thread:set("thread_number", #threads)
  threads[#threads + 1] = thread
end

-- Globals of a thread's own Lua state, so that done() can read them through thread:get().
status_counts = {}
counting = false

local head, middle, tail, buyers
local count = 0

local function random_id()
  local source = assert(io.open("/dev/urandom", "rb"))
  local bytes = source:read(6)
  source:close()
  return (bytes:gsub(".", function(byte) return string.format("%02x", byte:byte()) end))
end

local function options(args)
  local given = { sale = "demo", sku = "TICKET", quantity = "1", run = os.getenv("BENCH_RUN") }
  for _, argument in ipairs(args) do
    local name, value = argument:match("^(%w+)=(.*)$")
    if name then given[name] = value end
  end
  return given
end

function init(args)
  local given = options(args)
  local id = (given.run or random_id()) .. "-" .. thread_number .. "-"
  local body = '{"items":[{"sku":"' .. given.sku .. '","quantity":' .. given.quantity .. "}]}"
  head = "POST /v1/sales/" .. given.sale .. "/orders HTTP/1.1\r\n"
    .. "Host: " .. wrk.host .. "\r\n"
    .. "Content-Type: application/json\r\n"
    .. "Content-Length: " .. #body .. "\r\n"
    .. "X-Buyer-Id: b-" .. id
  middle = "\r\nIdempotency-Key: k-" .. id
  tail = "\r\n\r\n" .. body
  buyers = tonumber(given.buyers)
  if given.statuses == "1" then
    counting = true
    response = function(status)
      status_counts[status] = (status_counts[status] or 0) + 1
    end
  end
end

function request()
  count = count + 1
  return head .. (buyers and count % buyers or count) .. middle .. count .. tail
end

-- Without statuses=1 only what wrk counts itself is known: answers above 399.
local function statuses(summary)
  local total = {}
  if not threads[1]:get("counting") then
    return string.format('{"below_400":%d,"400_and_above":%d}',
      summary.requests - summary.errors.status, summary.errors.status)
  end
  for _, thread in ipairs(threads) do
    for status, number in pairs(thread:get("status_counts")) do
      total[status] = (total[status] or 0) + number
    end
  end
  local members = {}
  for status, number in pairs(total) do
    members[#members + 1] = string.format('"%d":%d', status, number)
  end
  table.sort(members)
  return "{" .. table.concat(members, ",") .. "}"
end

function done(summary, latency)
  local errors = summary.errors
  print(string.format(
    '{"requests":%d,"requests_per_s":%.0f,"p50_ms":%.3f,"p99_ms":%.3f,"statuses":%s,'
      .. '"socket_errors":%d,"timeouts":%d}',
    summary.requests, summary.requests / (summary.duration / 1e6),
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, statuses(summary),
    errors.connect + errors.read + errors.write, errors.timeout))
end
