-- Asks the questions of a file at random and counts what comes back; `benchmarks.wrk` runs it.
-- Arguments: the file (a question a line, behind a tab the ETag of the answer that is known), the status that
-- each answer is to have, and a seed. The last line that it prints is JSON; times are microseconds.
local requests = {}
local threads = {}
local wanted

-- Not local: `done` asks each thread for them.
good = 0
others = {}

function setup(thread)
   table.insert(threads, thread)
end

function init(args)
   wanted = tonumber(args[2])
   math.randomseed(tonumber(args[3]))
   for line in io.lines(args[1]) do
      local path, tag = line:match("^([^\t]+)\t?(.*)$")
      local headers = tag ~= "" and { ["If-None-Match"] = tag } or {}
      table.insert(requests, wrk.format("GET", path, headers))
   end
end

function request()
   return requests[math.random(#requests)]
end

function response(status)
   if status == wanted then
      good = good + 1
   else
      local name = tostring(status)
      others[name] = (others[name] or 0) + 1
   end
end

function done(summary, latency)
   local count, statuses = 0, {}
   for _, thread in ipairs(threads) do
      count = count + thread:get("good")
      for status, times in pairs(thread:get("others")) do
         table.insert(statuses, string.format('"%s": %d', status, times))
      end
   end
   local errors = summary.errors
   print(string.format(
      '{"seconds": %.6f, "good": %d, "others": {%s}, "broken": %d, "p50_us": %d, "p99_us": %d, "p999_us": %d, "max_us": %d}',
      summary.duration / 1e6, count, table.concat(statuses, ", "),
      errors.connect + errors.read + errors.write + errors.timeout,
      latency:percentile(50), latency:percentile(99), latency:percentile(99.9), latency.max
   ))
end
