--- clerk_usage.lua -- what was used and spent, and by which requests.
local words = require("weir.clerk_words")
local suggest = require("weir.suggest")

local BY = {
  key = "coalesce((SELECT name FROM accounts WHERE id = s.key), '-')",
  team = "coalesce((SELECT name FROM accounts WHERE id = s.team), '-')",
  model = "model", target = "target", day = "quarter",
}
local GROUP = { key = "key", team = "team", model = "model", target = "target", day = "quarter" }
local ORDER = { "key", "team", "model", "target", "day" }
local SUMS = "requests errors attempts prompt completion cached reasoning cost estimated"
local PAGE, MOST = 50, 1000
local QUARTERS = 2 * 86400 + 1 -- seconds for which sums are exact to a quarter of an hour

---@param host table what lua_clerk.c gives
return function(host)
  local usage = {}

  local function refuse(status, message) error({ status = status, message = message }, 0) end

  local function since_of(query, default)
    local span, problem = words.span(query.since or default)
    if not span then refuse(400, "since: " .. problem) end
    return host.now() - span
  end

  local function by_of(query)
    local list = {}
    for name in (query.by or "key"):gmatch("[^,]+") do
      if not BY[name] then
        local near = suggest(name, ORDER)
        refuse(400, ("by: nothing is summed by '%s'; there are key, team, model, target, day%s")
          :format(name:sub(1, 64), near and (" (did you mean '%s'?)"):format(near) or ""))
      end
      list[#list + 1] = name
    end
    return list
  end

  --- Quarters of an hour become days here, in the zone of the budgets.
  local function add_up(rows, by)
    local groups, list = {}, {}
    for _, row in ipairs(rows) do
      local names = {}
      for i, name in ipairs(by) do
        if name == "day" then row.day = host.date("%Y-%m-%d", row.day * 900) end
        names[i] = tostring(row[name])
      end
      local at = table.concat(names, "\0")
      local group = groups[at]
      if not group then
        groups[at] = row
        list[#list + 1] = row
      else
        for name in SUMS:gmatch("%S+") do group[name] = group[name] + row[name] end
      end
    end
    table.sort(list, function(a, b)
      if a.cost ~= b.cost then return a.cost > b.cost end
      return a.requests > b.requests
    end)
    return list
  end

  --- Who looks far back gets whole days, of which there are a hundred times fewer rows.
  local function source(since)
    if since > host.now() - QUARTERS then return "sums", since end
    return "days", (host.window("day", since))
  end

  --- The sums since some time, by one or more of key, team, model, target, day.
  function usage.sums(query)
    local by = by_of(query)
    local from, start = source(since_of(query, "30d"))
    local shown, grouped = {}, {}
    for i, name in ipairs(by) do
      shown[i] = ("%s AS %s"):format(BY[name], name)
      grouped[i] = "s." .. GROUP[name]
    end
    for name in SUMS:gmatch("%S+") do shown[#shown + 1] = ("sum(%s) AS %s"):format(name, name) end
    local rows = {}
    host.settle()
    host.each(function(row) rows[#rows + 1] = row end,
      ("SELECT %s FROM %s s WHERE quarter >= ?1 GROUP BY %s"):format(table.concat(shown, ", "),
      from, table.concat(grouped, ", ")), math.floor(start / 900))
    local columns = {}
    for i, name in ipairs(by) do columns[i] = name end
    for name in SUMS:gmatch("%S+") do columns[#columns + 1] = name end
    return host.array(add_up(rows, by)), columns
  end

  local REQUEST = "SELECT id, time, k.name AS key, t.name AS team, model, endpoint, status, code, "
    .. "target, first_ms, total_ms, attempts, prompt, completion, cached, reasoning, cost, "
    .. "estimated, generation FROM requests r LEFT JOIN (SELECT id AS kid, name FROM accounts) k "
    .. "ON k.kid = r.key LEFT JOIN (SELECT id AS tid, name FROM accounts) t ON t.tid = r.team "
  local COLUMNS = { "time", "id", "key", "team", "model", "target", "status", "code", "attempts",
    "first_ms", "total_ms", "prompt", "completion", "cost" }

  local function dress(row)
    row.microseconds, row.time = row.time, host.date("%Y-%m-%dT%H:%M:%S%z", row.time / 1e6)
    row.estimated = row.estimated == 1
    return row
  end

  --- The latest first; before: the microseconds of the last one of the page before.
  function usage.requests(query)
    local where, values = { "time >= ?1", "time < ?2" }, { since_of(query, "7d") * 1e6 }
    values[2] = tonumber(query.before) or 9e15
    for _, name in ipairs { "key", "team", "model", "target", "status", "code" } do
      if query[name] then
        values[#values + 1] = name == "status" and tonumber(query[name]) or query[name]
        local column = name == "key" and "k.name" or name == "team" and "t.name" or name
        where[#where + 1] = ("%s = ?%d"):format(column, #values)
      end
    end
    local limit = math.min(tonumber(query.limit) or PAGE, MOST)
    local list = {}
    host.settle()
    host.each(function(row) list[#list + 1] = dress(row) end,
      REQUEST .. "WHERE " .. table.concat(where, " AND ") .. " ORDER BY time DESC LIMIT "
      .. ("%d"):format(math.max(1, limit)), unpack(values))
    return host.array(list), COLUMNS
  end

  --- One, with its trail.
  function usage.request(id)
    local found, trail = nil, {}
    host.settle()
    host.each(function(row) found = dress(row) end, REQUEST .. "WHERE id = ?1", id)
    if not found then refuse(404, "no request of that id is in the ledger") end
    host.each(function(row)
      row.estimated = row.estimated == 1
      row.time, row.ended, row.request, row.key, row.team = nil, nil, nil, nil, nil
      trail[#trail + 1] = row
    end, "SELECT * FROM attempts WHERE request = ?1 ORDER BY number", id)
    found.trail = host.array(trail)
    return found
  end

  return usage
end
