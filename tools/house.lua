--- The rules of the house that no off-the-shelf linter knows: which words may
--- stand in which file.  Comments and strings of C do not count.
--
-- A line that must break a rule says so: /* lint: reason */.

local failures = 0

local function report(path, number, what)
  failures = failures + 1
  io.stdout:write(("%s:%d: %s\n"):format(path, number, what))
end

local function read(path)
  local file = io.open(path, "rb")
  if not file then return "" end -- listed, but deleted in the work tree
  local text = file:read("*a")
  file:close()
  return text
end

local function list(command)
  local names = {}
  local pipe = assert(io.popen(command))
  for name in pipe:lines() do
    names[#names + 1] = name
  end
  pipe:close()
  return names
end

--- The code of a C file: comments and literals blanked, lines kept.
local function code_of(text)
  local function blank(span)
    return (span:gsub("[^\n]", " "))
  end
  text = text:gsub('\\[\\"\']', "  ")
  text = text:gsub("'\"'", "   ")
  -- whichever opens first rules, so both are looked for from left to right
  local out, at = {}, 1
  while true do
    local comment = text:find("/[*/]", at)
    local string = text:find('"', at, true)
    local open = math.min(comment or math.huge, string or math.huge)
    if open == math.huge then break end
    local close
    if open == string then
      close = text:find('"', open + 1, true)
    elseif text:sub(open, open + 1) == "/*" then
      close = select(2, text:find("*/", open + 2, true))
    else
      close = (text:find("\n", open, true) or #text + 1) - 1
    end
    close = close or #text
    out[#out + 1] = text:sub(at, open - 1) .. blank(text:sub(open, close))
    at = close + 1
  end
  return table.concat(out) .. text:sub(at)
end

--- Calls found(name, line number) for each word of the code.
local function each_word(path, found)
  local text = read(path)
  local code = code_of(text)
  local number = 0
  local lines = code:gmatch("([^\n]*)\n?")
  for original in text:gmatch("([^\n]*)\n?") do
    number = number + 1
    local line = lines() or ""
    if not original:find("/* lint: ", 1, true) then
      for word, after in line:gmatch("([%a_][%w_]*)%s*(%(?)") do
        found(word, number, after == "(")
      end
    end
  end
end

local banned = {
  strcpy = true, strcat = true, sprintf = true, vsprintf = true, strtok = true, atoi = true,
  atol = true, atof = true, gets = true,
}

local allocators = {
  malloc = true, calloc = true, realloc = true, reallocarray = true, free = true, strdup = true,
  strndup = true, asprintf = true,
}

-- One library, one file.
local lua_files = { "policy.c", "policy_judge.c", "generation.c",
  "config.c", "lua_%w+.[ch]" }
local homes = {
  { prefix = "evhttp_", files = { "client.c", "client_request.c", "client_write.c" } },
  { prefix = "curl_", files = { "connection.c", "base_url.c" } },
  { prefix = "CURLOPT_", files = { "connection.c" } },
  { prefix = "SSL_", files = { "tls.c" } },
  { prefix = "EVP_MD_", files = { "sha256.c" } },
  { prefix = "bufferevent_openssl_", files = { "tls.c" } },
  { prefix = "luaL_", files = lua_files },
  { prefix = "lua_", files = lua_files, shared = true }, -- our lua_*.h begin so too
  { prefix = "cJSON_", files = { "lua_json.c" } },
  { prefix = "sqlite3_", files = { "ledger.c", "tables.c", "archive.c" } },
}

local function is_one_of(name, patterns)
  for _, pattern in ipairs(patterns) do
    if name:find("^" .. pattern:gsub("%.", "%%.") .. "$") then return true end
  end
  return false
end

--- The functions that our own lua_*.h declare: lua_request_open may be called anywhere.
local function declared_by(files)
  local ours = {}
  for _, path in ipairs(files) do
    if path:find("/lua_%w+%.h$") then
      each_word(path, function(word, _, is_call)
        if is_call then ours[word] = true end
      end)
    end
  end
  return ours
end

local function check_c(path, ours)
  local name = path:match("[^/]+$")
  each_word(path, function(word, number, is_call)
    if is_call and banned[word] then
      report(path, number, word .. " is banned")
    end
    if is_call and allocators[word] and name ~= "mem.c" then
      report(path, number, word .. " belongs in mem.c; call mem_new, mem_dup or mem_free")
    end
    for _, home in ipairs(homes) do
      local is_foreign = is_call and word:sub(1, #home.prefix) == home.prefix
        and not (home.shared and ours[word])
      if is_foreign and not is_one_of(name, home.files) then
        report(path, number, word .. " belongs in " .. table.concat(home.files, ", "))
      end
    end
  end)
end

-- Names that only a work tree has.  Written in two halves, so as not to find itself.
local private = {
  "/wo" .. "rk/", "/ho" .. "me/%w", "/ro" .. "ot/", "/tmp/br" .. "ief", "fa" .. "rm%-",
}
local unwanted = {
  "%.orig$", "%.rej$", "%.swp$", "%.log$", "%.o$", "%.so$", "%.env$", "%.pem$", "%.key$", "~$",
  "^core%.%d+$",
}

local function check_any(path)
  for _, pattern in ipairs(unwanted) do
    if path:find(pattern) then report(path, 0, "such a file is not committed") end
  end
  if path:find("^fuzz/corpus/") or path == "package-lock.json" then return end
  local number = 0
  for line in read(path):gmatch("([^\n]*)\n?") do
    number = number + 1
    for _, pattern in ipairs(private) do
      if line:find(pattern) then report(path, number, "names a place on one machine") end
    end
  end
end

-- exchange.c and its fellows are compiled a second time over a simulated floor: what they call of
-- these modules must have a name there.
local simulated = {}
for path in read("sim/sim.cmake"):match("add_library%(simulated ([^)]*)%)"):gmatch("core/%S+") do
  simulated[path] = true
end
local floors = { "^client_", "^upstream_", "^origin_", "^event_", "^evtimer_", "^evbuffer_" }

local function check_simulated(path)
  local names = read("sim/sim_names.h")
  each_word(path, function(word, number, is_call)
    for _, floor in ipairs(floors) do
      if is_call and word:find(floor) and not names:find("\n#define " .. word .. " ", 1, true) then
        report(path, number, word .. " is not in sim_names.h: the simulator has none")
      end
    end
  end)
end

-- The rooms of core/ from the top down: a file includes those of its own and of rooms below.
local rooms = { "admin", "master", "worker", "exchange", "client", "ledger", "policy", "accounts",
  "provider", "limits", "metrics", "parsers", "leaves" }
local on_top = { ["core/main.c"] = true, ["core/gateway.c"] = true, ["core/gateway.h"] = true }
local floor_of = {}
for i, room in ipairs(rooms) do floor_of[room] = i end

local function check_room(path)
  if not path:find("^core/.*%.[ch]$") or on_top[path] then return end
  local room = path:match("^core/(%w+)/")
  if not floor_of[room] then return report(path, 0, "stands in no room of core/") end
  local number = 0
  for line in read(path):gmatch("([^\n]*)\n?") do
    number = number + 1
    local other = line:match('^#include "(%w+)/')
    if other and (floor_of[other] or 0) <= floor_of[room] then
      report(path, number, ("%s is not below %s: arrows run down"):format(other, room))
    end
  end
end

-- It tells what is built from what; how is in cmake/, and beside what it is about.
local build_lines = select(2, read("CMakeLists.txt"):gsub("\n", ""))
if build_lines > 150 then
  report("CMakeLists.txt", build_lines, "has over 150 lines: cmake/ has room")
end

local files = list("git ls-files --cached --others --exclude-standard")
local ours = declared_by(files)
for _, path in ipairs(files) do
  check_any(path)
  check_room(path)
  local is_ours = path:find("^core/") or path:find("^mock/") or path:find("^sim/")
  if is_ours and path:find("%.[ch]$") then
    check_c(path, ours)
  end
  if simulated[path] then check_simulated(path) end
end

os.exit(failures == 0 and 0 or 1)
