--- clerk_keys.lua -- keys and teams: what may be said of them, their rows, the table of workers.
local refuse = require("weir.clerk_refuse")
local when = require("weir.clerk_when")
local words = require("weir.clerk_words")
local suggest = require("weir.suggest")

local FEW = 20 -- windows that are cheaper to sum up one by one
local GRACE = 24 * 3600 -- seconds that a rotated key still works

---@param host table what lua_clerk.c gives
return function(host)
  local keys = {}

  local function ask(sql, ...)
    local rows = {}
    host.each(function(row) rows[#rows + 1] = row end, sql, ...)
    return rows
  end

  --- The row of that name; raises a refusal when there is none.
  local function find(kind, name)
    local row = ask("SELECT * FROM accounts WHERE kind = ?1 AND name = ?2", kind, name)[1]
    if row then return row end
    local names = {}
    for _, other in ipairs(ask("SELECT name FROM accounts WHERE kind = ?1 LIMIT 1000", kind)) do
      names[#names + 1] = other.name
    end
    local near = suggest(name, names)
    refuse(404, ("no %s is called '%s'%s"):format(kind, name:sub(1, 64),
      near and (" (did you mean '%s'?)"):format(near) or ""))
  end
  keys.find = find

  -- ---- what workers see ----

  local function publish(row)
    row.warns_at = row.budget and math.floor(row.budget * (row.soft or 1))
    local fits = host.publish(row)
    if row.sha256 then fits = fits and host.publish_digest(row.sha256, row.id, 0) end
    if row.old_sha256 then
      fits = fits and host.publish_digest(row.old_sha256, row.id, row.old_until)
    end
    return fits
  end

  --- The sum of the window that runs, once nobody spends while it is read; false: somebody always
  --- does, or the ledger cannot be written.
  local function settle_window(row)
    local starts, renews, next = host.window(row.period or "total", host.now())
    for _ = 1, 50 do
      local total = host.purse(row.id).total
      local is_all = host.settle()
      local sum = ask(("SELECT sum(cost) AS spent FROM %s WHERE %s = ?1 AND quarter >= ?2")
        :format(starts == 0 and "days" or "sums", row.kind), row.id, starts / 900)[1]
      local purse = { total = total, spent = sum.spent or 0, starts = starts, renews = renews,
        next = next }
      if is_all and host.set_purse(row.id, purse) then return true end
    end
    return false
  end

  --- All at once, with one sum for each period. Gives those that somebody spent of meanwhile.
  local function load_windows(rows)
    local now = host.now()
    local late, totals = {}, {}
    for i, row in ipairs(rows) do totals[i] = host.purse(row.id).total end
    local is_all = host.settle()
    local spent = {}
    local used = {}
    for _, row in ipairs(rows) do used[row.period or "total"] = true end
    for period in pairs(used) do
      local starts, renews, next = host.window(period, now)
      local key, team = {}, {}
      spent[period] = { starts = starts, renews = renews, next = next, key = key, team = team }
      local of_days = period == "total" -- of which there are fewer rows: all have the same sum
      host.sums(function(row)
        key[row.key] = (key[row.key] or 0) + row.cost
        team[row.team] = (team[row.team] or 0) + row.cost
      end, of_days, starts, math.huge, "key", "team")
    end
    for i, row in ipairs(rows) do
      local window = spent[row.period or "total"]
      local is_set = host.set_purse(row.id, { total = totals[i],
        spent = window[row.kind][row.id] or 0, starts = window.starts, renews = window.renews,
        next = window.next })
      if not (is_set and is_all) then late[#late + 1] = row end
    end
    return late
  end

  function keys.load(is_again)
    local rows = {}
    host.each(function(row)
      publish(row)
      rows[#rows + 1] = { id = row.id, kind = row.kind, period = row.period }
    end, "SELECT * FROM accounts ORDER BY kind DESC")
    if not is_again then load_windows(rows) end
  end

  local known = {} -- each period's window, as far as workers were told

  --- Those whose window nobody told in time, as after a night's sleep; false: not all could be.
  local function mend_windows(rows)
    local is_done = true
    if #rows > FEW then rows = load_windows(rows) end
    for _, row in ipairs(rows) do is_done = settle_window(row) and is_done end
    return is_done
  end

  --- A window ended: workers have begun the next by themselves; they are told when that one ends.
  --- In another time zone than before other windows run.
  function keys.turn()
    for _, period in ipairs { "day", "week", "month" } do
      local starts, renews, next = host.window(period, host.now())
      local window = starts .. "-" .. renews
      if known[period] ~= window then
        local wrong = {}
        for _, row in ipairs(ask("SELECT id, kind, period FROM accounts WHERE period = ?1",
          period)) do
          if not host.renew(row.id, starts, renews, next) then wrong[#wrong + 1] = row end
        end
        if mend_windows(wrong) then known[period] = window end
      end
    end
  end

  -- ---- what people say ----

  local READ = {
    name = words.name,
    models = words.models,
    rpm = words.count,
    tpm = words.count,
    concurrent = words.count,
    soft = words.share,
    labels = words.labels,
  }

  local function read_team(value)
    if value == "none" then return false end
    if type(value) ~= "string" then return nil, 'must be the name of a team, or "none"' end
    return find("team", value).id
  end

  --- How long the key's texts are kept; the configuration must allow it.
  local function read_store(value)
    local read, problem = words.keep(value)
    if read and host.texts_allowed() == 0 then
      return nil, 'weir.lua allows no key to store texts: ledger = { store = { keep = "30d" } }'
    end
    return read, problem
  end

  --- The columns that a request's members set; false is NULL.
  local function read_members(given)
    local columns = {}
    for name, value in pairs(given) do
      local read, problem, period
      if name == "team" then
        read, problem = read_team(value)
      elseif name == "budget" then
        read, period = words.budget(value)
        if read == nil then problem = period else columns.period = read and period end
      elseif name == "store" then
        read, problem = read_store(value)
      elseif name == "expires" then
        if value == "never" then
          read = false
        else
          read, problem = when.future(host, value)
        end
      else
        read, problem = READ[name](value)
      end
      if read == nil then refuse(400, name .. ": " .. problem) end
      columns[name] = read
    end
    return columns
  end

  local function write(sql_head, columns, sql_tail, ...)
    local names, values, count = {}, { ... }, select("#", ...)
    for name, value in pairs(columns) do
      names[#names + 1] = name
      count = count + 1
      values[count] = value or nil
    end
    host.each(function() end, sql_head(names, count - #names) .. sql_tail, unpack(values, 1, count))
  end

  local function insert(columns)
    write(function(names)
      local marks = {}
      for i = 1, #names do marks[i] = "?" .. i end
      return ("INSERT INTO accounts(%s) VALUES(%s)"):format(table.concat(names, ", "),
        table.concat(marks, ", "))
    end, columns, "")
    return host.id()
  end

  local function update(id, columns)
    if next(columns) == nil then return end
    write(function(names, before)
      local sets = {}
      for i, name in ipairs(names) do sets[i] = ("%s = ?%d"):format(name, before + i) end
      return "UPDATE accounts SET " .. table.concat(sets, ", ")
    end, columns, " WHERE id = ?1", id)
  end

  --- A new secret for the columns of a row; the text is for the answer alone.
  local function make_secret(columns)
    local secret = "wk-" .. host.secret()
    columns.sha256 = host.digest(secret)
    columns.prefix = secret:sub(1, 7)
    return secret
  end

  -- ---- how they are shown ----

  local function list_of(text, pattern)
    local list = {}
    for part in (text or ""):gmatch(pattern) do list[#list + 1] = part end
    return host.array(list)
  end

  local function state_of(row, now)
    if row.revoked then return "revoked" end
    if row.expires and row.expires <= now then return "expired" end
    return "active"
  end

  local function time(at) return at and at > 0 and host.date("%Y-%m-%dT%H:%M:%S%z", at) or nil end

  local function show(row, teams)
    local purse, now = host.purse(row.id), host.now()
    local labels = {}
    for name, value in (row.labels or ""):gmatch("([^=\n]+)=([^\n]*)\n") do labels[name] = value end
    return {
      id = row.id, name = row.name, kind = row.kind, prefix = row.prefix,
      state = state_of(row, now), team = teams[row.team], labels = labels,
      models = row.models and list_of(row.models, "[^,]+") or nil,
      rpm = row.rpm, tpm = row.tpm, concurrent = row.concurrent,
      budget = row.budget, period = row.period, soft = row.soft,
      spent = purse.spent, reserved = purse.reserved, in_flight = purse.inflight,
      left = row.budget and math.max(0, row.budget - purse.spent - purse.reserved) or nil,
      renews = time(purse.renews), expires = time(row.expires), created = time(row.created),
      revoked = time(row.revoked), store = row.store,
    }
  end

  local function team_names()
    local names = {}
    host.each(function(row) names[row.id] = row.name end,
      "SELECT id, name FROM accounts WHERE kind = 'team'")
    return names
  end

  ---@param id number
  ---@return string
  function keys.name_of(id)
    local row = ask("SELECT name FROM accounts WHERE id = ?1", id)[1]
    return row and row.name or "-"
  end

  local function shown(id)
    local row = ask("SELECT * FROM accounts WHERE id = ?1", id)[1]
    return show(row, team_names())
  end

  -- ---- what is asked ----

  function keys.list(kind)
    local list, teams = {}, team_names()
    host.each(function(row) list[#list + 1] = show(row, teams) end,
      "SELECT * FROM accounts WHERE kind = ?1 ORDER BY name", kind)
    return host.array(list)
  end

  function keys.show(kind, name) return shown(find(kind, name).id) end

  function keys.add(kind, given)
    local columns = read_members(given)
    if not columns.name then refuse(400, ("name: a %s needs one: --name alice"):format(kind)) end
    if ask("SELECT id FROM accounts WHERE kind = ?1 AND name = ?2", kind, columns.name)[1] then
      refuse(409, ("a %s is called '%s' already; revoked ones keep their names"):format(kind,
        columns.name))
    end
    columns.kind, columns.created = kind, math.floor(host.now())
    local secret = kind == "key" and make_secret(columns) or nil
    local row = ask("SELECT * FROM accounts WHERE id = ?1", insert(columns))[1]
    if not publish(row) then
      update(row.id, { revoked = math.floor(host.now()) })
      refuse(409, "there is no room for more keys")
    end
    settle_window(row)
    local answer = shown(row.id)
    answer.key = secret
    return answer
  end

  function keys.set(kind, name, given)
    local before = find(kind, name)
    local columns = read_members(given)
    update(before.id, columns)
    local row = ask("SELECT * FROM accounts WHERE id = ?1", before.id)[1]
    publish(row)
    if row.period ~= before.period then settle_window(row) end
    if columns.store ~= nil then -- what is there ends with it, at once where it is "none"
      if not host.shorten_texts(row.id, columns.store or 0) then
        refuse(500, "store: no more is stored; what is there cannot be removed now: try again")
      end
    end
    if columns.budget ~= nil or columns.soft ~= nil then host.arm(row.id) end
    return shown(row.id)
  end

  function keys.revoke(kind, name)
    local row = find(kind, name)
    update(row.id, { revoked = row.revoked or math.floor(host.now()) })
    publish(ask("SELECT * FROM accounts WHERE id = ?1", row.id)[1])
    return shown(row.id)
  end

  function keys.rotate(kind, name, given)
    local row, now = find(kind, name), math.floor(host.now())
    local grace, problem = GRACE, nil
    if given.grace then grace, problem = words.span(given.grace) end
    if not grace then refuse(400, "grace: " .. problem) end
    if row.revoked then refuse(409, ("'%s' is revoked"):format(name)) end
    if row.old_sha256 and row.old_until > now then -- two at a time: the one before ends now
      host.publish_digest(row.old_sha256, row.id, now)
    end
    local columns = { old_sha256 = row.sha256, old_until = now + grace }
    local secret = make_secret(columns)
    update(row.id, columns)
    publish(ask("SELECT * FROM accounts WHERE id = ?1", row.id)[1])
    local answer = shown(row.id)
    answer.key, answer.old_until = secret, time(columns.old_until)
    return answer
  end

  return keys
end
