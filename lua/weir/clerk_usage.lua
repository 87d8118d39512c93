--- clerk_usage.lua -- what was used and spent, and by which requests.
local page = require("weir.clerk_page")
local refuse = require("weir.clerk_refuse")
local suggest = require("weir.suggest")
local when = require("weir.clerk_when")
local words = require("weir.clerk_words")

local ORDER = { "key", "team", "model", "target", "day" }
local BY = { key = true, team = true, model = true, target = true, day = true }
local SUMS = { "requests", "errors", "attempts", "prompt", "completion", "cached", "reasoning",
  "cost", "estimated" }
local PAGE = 50 -- requests
local MOST_SUMS = 50000 -- for whoever has asked, an answer of 15 MB; the clerk has as much
local QUARTERS = 2 * 86400 + 1 -- seconds for which sums are exact to a quarter of an hour

---@param host table what lua_clerk.c gives
---@param find fun(kind: string, name: string): table the row of a key or a team
return function(host, find)
  local usage = {}

  local function moment_of(query, name)
    local at, problem = when.past(host, query[name])
    return at or refuse(400, ("%s: %s"):format(name, problem))
  end

  --- From when to when; without an end everything, without a beginning so many days.
  local function times_of(query, days)
    local ends = query["until"] and moment_of(query, "until") or math.huge
    local since = query.since and moment_of(query, "since")
      or math.min(ends, host.now()) - days * 86400
    if ends <= since then refuse(400, "until: must be later than since") end
    return since, ends
  end

  local function by_of(query)
    local list, has = {}, {}
    for name in (query.by or query.key and "model" or "key"):gmatch("[^,]+") do
      if not BY[name] then
        local near = suggest(name, ORDER)
        refuse(400, ("by: nothing is summed by '%s'; there are key, team, model, target, day%s")
          :format(name:sub(1, 64), near and (" (did you mean '%s'?)"):format(near) or ""))
      end
      if has[name] then refuse(400, ("by: %s comes twice"):format(name)) end
      has[name] = true
      list[#list + 1] = name
    end
    if #list == 0 then refuse(400, "by: must name one or more of " .. table.concat(ORDER, ", ")) end
    return list
  end

  --- Who asks for a long time gets whole days, of which there are a hundred times fewer rows.
  local function source(since, ends)
    if since > math.min(ends, host.now()) - QUARTERS then return false, since, ends end
    if ends == math.huge then return true, (host.window("day", since)), ends end
    local _, next = host.window("day", ends - 1)
    return true, (host.window("day", since)), next
  end

  --- Names in place of ids, dates in place of times; once for each.
  local function namer()
    local names, days = {}, {}
    return function(row)
      for _, kind in ipairs { "key", "team" } do
        local id = row[kind]
        if id and not names[id] then names[id] = host.name(id) or "-" end
        row[kind] = id and names[id]
      end
      local day = row.day
      if day and not days[day] then days[day] = host.date("%Y-%m-%d", day) end
      row.day = day and days[day]
    end
  end

  --- Whose alone, as host.sums takes it.
  local function only_of(query)
    return {
      key = query.key and find("key", query.key).id,
      team = query.team and (query.team == "none" and 0 or find("team", query.team).id),
      model = query.model, target = query.target,
    }
  end

  --- The sums of some time, by one or more of key, team, model, target, day.
  function usage.sums(query)
    local by = by_of(query)
    local of_days, start, ends = source(times_of(query, 30))
    local rows, name, only = {}, namer(), only_of(query)
    host.settle()
    host.sums(function(row)
      if #rows == MOST_SUMS then
        refuse(400, ("by: these are more than %d sums: name fewer, or a later since")
          :format(MOST_SUMS))
      end
      rows[#rows + 1] = row
    end, of_days, start, ends, only, unpack(by))
    for _, row in ipairs(rows) do name(row) end
    table.sort(rows, function(a, b)
      if a.cost ~= b.cost then return a.cost > b.cost end
      return a.requests > b.requests
    end)
    local columns = {}
    for _, list in ipairs { by, SUMS } do
      for _, column in ipairs(list) do columns[#columns + 1] = column end
    end
    return host.array(rows), columns
  end

  --- All of the rows in one, under the first column's name.
  function usage.total(list, columns)
    local total = { [columns[1]] = "TOTAL" }
    for _, column in ipairs(SUMS) do
      total[column] = 0
      for _, row in ipairs(list) do total[column] = total[column] + row[column] end
    end
    for i = 2, #columns do total[columns[i]] = total[columns[i]] or " " end
    return total
  end

  local REQUEST = "SELECT id, time, k.name AS key, t.name AS team, model, endpoint, status, code, "
    .. "target, first_ms, total_ms, attempts, prompt, completion, cached, reasoning, cost, "
    .. "estimated, generation FROM requests r LEFT JOIN (SELECT id AS kid, name FROM accounts) k "
    .. "ON k.kid = r.key LEFT JOIN (SELECT id AS tid, name FROM accounts) t ON t.tid = r.team "
  local COLUMNS = { "time", "id", "key", "team", "model", "target", "status", "code", "attempts",
    "first_ms", "total_ms", "prompt", "completion", "cost" }

  local function dress(row)
    row.microseconds, row.time = row.time, when.stamp(host, row.time / 1e6)
    row.estimated = row.estimated == 1
    return row
  end

  local FAILED = " AND (status <> 200 OR code <> '')" -- to the letter as the index of these has it

  --- What a row is filtered by: a condition and its value.
  local FILTER = {
    key = function(name) return "r.key = ?", find("key", name).id end,
    team = function(name) return "r.team = ?", find("team", name).id end,
    model = function(name) return "model = ?", name end,
    target = function(name) return "target = ?", name end,
    slower = function(text)
      local ms, problem = words.milliseconds(text)
      if not ms then refuse(400, "slower: " .. problem) end
      return "total_ms >= ?", ms
    end,
    code = function(name) return "code = ?" .. (name ~= "" and FAILED or ""), name end,
    status = function(_, query)
      local status = page.count(query, "status", 0, 599)
      return "status = ?" .. (status ~= 200 and FAILED or ""), status
    end,
  }

  --- "MICROSECONDS-ID", the row that a page ended with: of one moment there may be several.
  local function cursor_of(before)
    local time, id = before:match("^(%d+)%-([%w_-]+)$")
    if not time or #time > 16 then refuse(400, "before: must be what an answer gave as next") end
    return tonumber(time), id
  end

  --- The latest first, the columns for people, and the cursor of the next page, where there is one.
  function usage.requests(query)
    local since, ends = times_of(query, 7)
    local where, values = { "time >= ?" }, { since * 1e6 }
    if ends < math.huge then
      where[2], values[2] = "time < ?", ends * 1e6
    end
    for name, filter in pairs(FILTER) do
      if query[name] then
        where[#where + 1], values[#values + 1] = filter(query[name], query)
      end
    end
    if query.before then
      where[#where + 1] = "(time, id) < (?, ?)"
      values[#values + 1], values[#values + 2] = cursor_of(query.before)
    end
    local limit, list, next = page.limit(query, PAGE), {}, nil
    host.settle()
    host.each(function(row) list[#list + 1] = dress(row) end,
      REQUEST .. "WHERE " .. table.concat(where, " AND ") .. " ORDER BY time DESC, id DESC LIMIT "
      .. limit + 1, unpack(values))
    if #list > limit then
      list[limit + 1] = nil
      next = ("%.0f-%s"):format(list[limit].microseconds, list[limit].id)
    end
    return host.array(list), COLUMNS, next
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
