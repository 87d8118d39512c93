--- Prints the medians of bench/run as a markdown table.
--
--     luajit bench/table.lua RESULTS PROXY...
--
-- RESULTS holds lines "round case proxy value".

-- What each case says; the floor is what a release must hold, the goal what we
-- are after.  against: "nginx" (ratio to it), "alone" (ratio to the same proxy
-- without the streams), or nothing (the value itself).
local ROWS = {
  { case = "small", title = "CPU µs a request, 1 KB",
    against = "nginx", floor = 2.2, goal = 1.75 },
  { case = "large", title = "CPU µs a request, 100 KB",
    against = "nginx", floor = 2, goal = 1.2 },
  { case = "chunk", title = "CPU µs a chunk, 1000 streams",
    against = "nginx", floor = 1.3, goal = 1.1 },
  { case = "filtered", title = "the same, its text changed in Lua",
    against = "nginx", to = "chunk", floor = 1.6, goal = 1.3 },
  { case = "beside", title = "CPU µs a request beside 8000 streams",
    against = "alone", to = "alone", floor = 1.5, goal = 1.15 },
  { case = "memory", title = "KiB an idle stream, 9800 open",
    floor = 28, goal = 22 },
  { case = "rest", title = "RSS MiB at rest, summed over processes",
    scale = 1 / 1024, floor = 12, goal = 12 },
  { case = "rest_pss", title = "PSS MiB at rest, all processes",
    scale = 1 / 1024, floor = 12, goal = 12 },
  { case = "latency", title = "added latency µs p50, 300/s",
    less = "direct", against = "nginx", floor = 1.5, goal = 1 },
  { case = "first", title = "added µs to the first byte p50, 300/s",
    less = "direct", against = "nginx", floor = 1.3, goal = 1 },
}

---@param values number[]
---@return number
local function median(values)
  table.sort(values)
  local middle = #values / 2
  if #values % 2 == 1 then
    return values[middle + 0.5]
  end
  return (values[middle] + values[middle + 1]) / 2
end

---@param path string
---@return table<string, number>[] by round, then by "case proxy"
local function read_rounds(path)
  local rounds = {}
  for line in io.lines(path) do
    local round, what, value = line:match("^(%d+) (%S+ %S+) (%S+)$")
    value, round = tonumber(value), tonumber(round)
    if value and value == value then
      rounds[round] = rounds[round] or {}
      rounds[round][what] = value
    end
  end
  return rounds
end

local function value_of(round, row, proxy)
  local value = round[row.case .. " " .. proxy]
  local less = row.less and round[row.case .. " " .. row.less] or 0
  return value and (value - less) * (row.scale or 1)
end

--- What the floor is compared with: a ratio, or the value itself.
local function measure_of(round, row, proxy)
  local value = value_of(round, row, proxy)
  if not value or not row.against then
    return value
  end
  local other = row.against == "nginx" and "nginx" or proxy
  local base = value_of(round, { case = row.to or row.case, less = row.less }, other)
  return base and value / base
end

--- The median over the rounds that have it; nil if none has.
local function over(rounds, pick, row, proxy)
  local values = {}
  for _, round in pairs(rounds) do
    values[#values + 1] = pick(round, row, proxy)
  end
  return values[1] and median(values)
end

local function cell(rounds, row, proxy)
  local value = over(rounds, value_of, row, proxy)
  if not value then
    return "–"
  end
  local measure = row.against and over(rounds, measure_of, row, proxy)
  return measure and ("%.1f (%.2f×)"):format(value, measure) or ("%.1f"):format(value)
end

local function verdict(rounds, row)
  local measure = over(rounds, measure_of, row, "weir")
  if not measure then
    return "–"
  end
  return measure <= row.goal and "goal" or measure <= row.floor and "floor" or "MISSED"
end

local function was_run(rounds, row, proxies)
  for _, proxy in ipairs(proxies) do
    if over(rounds, value_of, row, proxy) then
      return true
    end
  end
end

local function main(path, ...)
  local proxies, rounds = { ... }, read_rounds(path)
  print("| | " .. table.concat(proxies, " | ") .. " | floor | goal | weir |")
  print("|---" .. ("|---:"):rep(#proxies + 2) .. "|---|")
  for _, row in ipairs(ROWS) do
    if was_run(rounds, row, proxies) then
      local cells = { row.title }
      for _, proxy in ipairs(proxies) do
        table.insert(cells, cell(rounds, row, proxy))
      end
      local unit = row.against and "×" or ""
      table.insert(cells, row.floor .. unit)
      table.insert(cells, row.goal .. unit)
      table.insert(cells, verdict(rounds, row))
      print("| " .. table.concat(cells, " | ") .. " |")
    end
  end
  print("\n× is the ratio to nginx in the same run; beside streams it is the ratio to")
  print("the proxy's own cost without them.")
end

main(...)
