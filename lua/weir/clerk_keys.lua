--- clerk_keys.lua -- keys and teams: what may be said of them, their rows, the table of workers.
local page = require("weir.clerk_page")
local refuse = require("weir.clerk_refuse")
local when = require("weir.clerk_when")
local words = require("weir.clerk_words")
local suggest = require("weir.suggest")

local PAGE = 100 -- keys, or teams
local GRACE = 24 * 3600 -- seconds that a rotated key still works

---@param host table what lua_clerk.c gives
return function(host)
  local windows = require("weir.clerk_windows")(host)
  local keys = { turn = windows.turn }

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

  function keys.load(is_again)
    local rows = {}
    host.aside(function(row)
      publish(row)
      rows[#rows + 1] = { id = row.id, kind = row.kind, period = row.period }
    end, "SELECT * FROM accounts ORDER BY kind DESC")
    if not is_again then windows.load(rows) end
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

  local function time(at) return at and at > 0 and when.stamp(host, at) or nil end

  ---@param id number
  ---@return string
  function keys.name_of(id)
    local row = not host.name(id) and ask("SELECT name FROM accounts WHERE id = ?1", id)[1]
    return host.name(id) or row and row.name or "-"
  end

  local function show(row)
    local purse, now = host.purse(row.id), host.now()
    local labels = {}
    for name, value in (row.labels or ""):gmatch("([^=\n]+)=([^\n]*)\n") do labels[name] = value end
    return {
      id = row.id, name = row.name, kind = row.kind, prefix = row.prefix,
      state = state_of(row, now), team = row.team and keys.name_of(row.team), labels = labels,
      models = row.models and list_of(row.models, "[^,]+") or nil,
      rpm = row.rpm, tpm = row.tpm, concurrent = row.concurrent,
      budget = row.budget, period = row.period, soft = row.soft,
      spent = purse.spent, reserved = purse.reserved, in_flight = purse.inflight,
      left = row.budget and math.max(0, row.budget - purse.spent - purse.reserved) or nil,
      renews = time(purse.renews), expires = time(row.expires), created = time(row.created),
      revoked = time(row.revoked), store = row.store,
    }
  end

  local function shown(id)
    local row = ask("SELECT * FROM accounts WHERE id = ?1", id)[1]
    return show(row)
  end

  -- ---- what is asked ----

  local STATE = {
    active = "revoked IS NULL AND (expires IS NULL OR expires > ?)",
    expired = "revoked IS NULL AND expires <= ?",
    revoked = "revoked <= ?",
  }

  --- What a row is filtered by: a condition and its values.
  local FILTER = {
    after = function(name) return "name > ?", name end,
    name = function(begin) return "name >= ? AND name < ?", begin, begin .. "\127" end,
    state = function(state)
      if not STATE[state] then refuse(400, "state: must be active, expired or revoked") end
      return STATE[state], host.now()
    end,
    team = function(name)
      if name == "none" then return "team IS NULL" end
      return "team = ?", find("team", name).id
    end,
  }

  --- A page of them by their names, and the last name where there are more.
  ---@param kind string
  ---@param query table
  ---@return table[], string|nil
  function keys.list(kind, query)
    local where, values, list = { "kind = ?" }, { kind }, {}
    for name, filter in pairs(FILTER) do
      if query[name] then
        local found = { filter(query[name]) }
        where[#where + 1] = found[1]
        for i = 2, #found do values[#values + 1] = found[i] end
      end
    end
    local limit = page.limit(query, PAGE)
    host.each(function(row) list[#list + 1] = show(row) end, "SELECT * FROM accounts WHERE "
      .. table.concat(where, " AND ") .. " ORDER BY name LIMIT " .. limit + 1, unpack(values))
    local has_more = #list > limit
    list[limit + 1] = nil
    return host.array(list), has_more and list[limit].name or nil
  end

  function keys.show(kind, name) return shown(find(kind, name).id) end

  function keys.add(kind, given)
    local columns = read_members(given)
    if not columns.name then refuse(400, ("name: a %s needs one: --name alice"):format(kind)) end
    if kind == "team" and columns.name == "none" then
      refuse(400, "name: 'none' is what is said of keys that have no team")
    end
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
    windows.begin(row)
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
    if row.period ~= before.period then windows.change(row) end
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
    if row.revoked then
      refuse(409, ("'%s' is revoked, and its name is not used again: add another"):format(name))
    end
    local columns = { old_sha256 = row.sha256, old_until = now + grace }
    local secret = make_secret(columns)
    local is_two = row.old_sha256 and row.old_until > now -- at a time: the one before ends now
    if is_two then host.publish_digest(row.old_sha256, row.id, now) end
    local ok, fault = pcall(update, row.id, columns)
    if not ok and is_two then host.publish_digest(row.old_sha256, row.id, row.old_until) end
    if not ok then error(fault, 0) end
    publish(ask("SELECT * FROM accounts WHERE id = ?1", row.id)[1])
    local answer = shown(row.id)
    answer.key, answer.old_until = secret, time(columns.old_until)
    return answer
  end

  return keys
end
