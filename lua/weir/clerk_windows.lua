--- clerk_windows.lua -- the windows of budgets: which one runs, and what is spent in it.
local FEW = 20 -- windows that are cheaper to sum up one by one
local MANY = 500 -- rows between two looks at what workers have closed

---@param host table what lua_clerk.c gives
return function(host)
  local windows = {}

  --- What each has spent in all, where the ledger has just that now, as long as nothing is written.
  local function settled_totals(rows)
    local before, totals = {}, {}
    for i, row in ipairs(rows) do before[i] = host.total(row.id) end
    if not host.settle() then return totals end
    for i, row in ipairs(rows) do
      if host.total(row.id) == before[i] then totals[row.id] = before[i] end
    end
    return totals
  end

  --- The window that runs, with what the ledger had when total was spent in all, and what was spent
  --- since; false: nobody knows what that was.
  local function set_window(row, window, total, spent)
    for _ = 1, total and 50 or 0 do
      local now = host.total(row.id)
      if host.set_purse(row.id, { total = now, spent = spent + now - total,
        starts = window.starts, renews = window.renews, next = window.next }) then
        return true
      end
    end
    return false
  end

  local function window_of(period)
    local starts, renews, next = host.window(period, host.now())
    return { starts = starts, renews = renews, next = next }
  end

  --- A key's are found by each quarter's beginning of the table; a team's are all over it.
  local SPENT = {
    key = "WITH RECURSIVE q(quarter) AS (SELECT min(quarter) FROM %s WHERE quarter >= ?2 UNION ALL "
      .. "SELECT (SELECT min(quarter) FROM %s WHERE quarter > q.quarter) FROM q WHERE q.quarter "
      .. "NOT NULL) SELECT sum(s.cost) AS spent FROM q JOIN %s s ON s.quarter = q.quarter AND "
      .. "s.key = ?1",
    team = "SELECT sum(cost) AS spent FROM %s WHERE team = ?1 AND quarter >= ?2",
  }

  --- Of a new one, of which nobody can have spent anything yet.
  function windows.begin(row) set_window(row, window_of(row.period or "total"), 0, 0) end

  --- The sum of the window that runs; false: the ledger cannot be written, or somebody spends so
  --- often that it never has all.
  ---@param row { id: number, kind: string, period: string|nil }
  ---@return boolean
  function windows.settle(row)
    local window = window_of(row.period or "total")
    local total, spent = settled_totals({ row })[row.id], 0
    for _ = 1, 50 do total = total or settled_totals({ row })[row.id] end
    if not total then return false end
    host.aside(function(sum) spent = sum.spent or 0 end,
      (SPENT[row.kind]:gsub("%%s", window.starts == 0 and "days" or "sums")), row.id,
      window.starts / 900)
    return set_window(row, window, total, spent)
  end

  local changed = {} -- to another period, by id, where nobody knows yet what is spent in it

  --- Of one whose period was changed.
  function windows.change(row) changed[row.id] = not windows.settle(row) and row or nil end

  --- What each has spent since there are budgets, before anybody is let in: the rest is in the
  --- ledger, or held (clerk_work.c).
  local function first_totals(rows)
    local totals = {}
    for _, row in ipairs(rows) do totals[row.id] = host.total(row.id) end
    return totals
  end

  --- All of one period at once, with one sum. Gives those whose sum is not known.
  local function load_period(period, rows, totals_of)
    local window = window_of(period)
    local spent, late = { key = {}, team = {} }, {}
    local totals = totals_of(rows)
    host.sums(function(row)
      for kind, of in pairs(spent) do of[row[kind]] = (of[row[kind]] or 0) + row.cost end
    end, period == "total", window.starts, math.huge, "key", "team") -- days: fewer rows, same sum
    for i, row in ipairs(rows) do
      if not set_window(row, window, totals[row.id], spent[row.kind][row.id] or 0) then
        late[#late + 1] = row
      end
      if i % MANY == 0 then host.breathe() end
    end
    return late
  end

  --- All at once. Gives those whose sum is not known.
  local function load(rows, totals_of)
    local of, late = {}, {}
    for _, row in ipairs(rows) do
      local period = row.period or "total"
      of[period] = of[period] or {}
      table.insert(of[period], row)
    end
    for period, list in pairs(of) do
      for _, row in ipairs(load_period(period, list, totals_of)) do late[#late + 1] = row end
    end
    return late
  end

  --- When the first clerk begins, whether the ledger can be written or not.
  function windows.load(rows) load(rows, first_totals) end

  local known = {} -- each period's window, as far as workers were told

  --- Those whose window nobody told in time, as after a night's sleep; false: not all could be.
  local function mend_windows(rows)
    local is_done = true
    if #rows > FEW then rows = load(rows, settled_totals) end
    for _, row in ipairs(rows) do is_done = windows.settle(row) and is_done end
    return is_done
  end

  local function rows_of(period)
    local rows = {}
    host.aside(function(row) rows[#rows + 1] = row end,
      "SELECT id, kind, period FROM accounts WHERE coalesce(period, 'total') = ?1", period)
    return rows
  end

  --- A window ended: workers have begun the next by themselves; they are told when that one ends.
  --- In another time zone than before other windows run. What is for good is looked at once: a
  --- clerk that was killed may have written the change to it, and not made it.
  function windows.turn()
    for _, row in pairs(changed) do windows.change(row) end
    for _, period in ipairs { "day", "week", "month", "total" } do
      local starts, renews, next = host.window(period, host.now())
      local window = starts .. "-" .. renews
      if known[period] ~= window then
        local wrong = {}
        for i, row in ipairs(rows_of(period)) do
          if not host.renew(row.id, starts, renews, next) then wrong[#wrong + 1] = row end
          if i % MANY == 0 then host.breathe() end
        end
        if mend_windows(wrong) then known[period] = window end
      end
    end
  end

  return windows
end
