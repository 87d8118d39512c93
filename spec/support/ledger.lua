--- A gateway whose keys are a ledger's, and its command line.
local cjson = require("cjson")
local gateway = require("spec.support.gateway")
local libc = require("spec.support.libc")
local process = require("spec.support.process")

local ffi = require("ffi")

ffi.cdef [[
typedef struct sqlite3 sqlite3;
int sqlite3_open(const char *path, sqlite3 **db);
int sqlite3_busy_timeout(sqlite3 *db, int ms);
typedef int weir_row(void *arg, int count, char **values, char **names);
int sqlite3_exec(sqlite3 *db, const char *sql, weir_row *row, void *arg, char **problem);
const char *sqlite3_errmsg(sqlite3 *db);
int sqlite3_close(sqlite3 *db);
]]

local ledger = {}

ledger.CONFIG = [[  workers = 1, keys = "ledger",
  prices = { ["first-model"] = { input = 1, output = 2, cached = 0.5 } },]]

--- Runs `weir WORDS` against it; gives the exit code and what it printed.
function ledger.run(served, ...)
  local argv = gateway.command(...)
  argv[#argv + 1] = "--config"
  argv[#argv + 1] = served.folder .. "/weir.lua"
  local command = process.start(argv)
  local status = command:wait()
  return status, command.text.out .. command.text.err
end

--- The same, which must succeed; gives the JSON that it printed.
function ledger.ask(served, ...)
  local words = { ... }
  words[#words + 1] = "--json"
  local status, text = ledger.run(served, unpack(words))
  if status ~= 0 then error(text, 2) end
  return cjson.decode(text)
end

--- A new key; gives the headers of whoever has it, and the key's own text.
function ledger.key(served, name, ...)
  local added = ledger.ask(served, "keys", "add", "--name", name, ...)
  return { authorization = "Bearer " .. added.key }, added.key
end

--- The process that keeps its ledger; nil while there is none.
function ledger.clerk(served)
  for _, pid in ipairs(served.process:children()) do
    local maps = io.open(("/proc/%d/maps"):format(pid))
    local text = maps and maps:read("*a") or ""
    if maps then maps:close() end
    if text:find("ledger.db-shm", 1, true) then return pid end
  end
end

function ledger.kill_workers(served)
  local clerk = ledger.clerk(served)
  for _, pid in ipairs(served:workers()) do
    if pid ~= clerk then libc.C.kill(pid, libc.SIGKILL) end
  end
end

--- An answer with that usage.
function ledger.answer(prompt, completion, cached)
  return cjson.encode { id = "x", object = "chat.completion", created = 1, model = "m",
    choices = { { index = 0, message = { role = "assistant", content = "Hello" },
      finish_reason = "stop" } },
    usage = { prompt_tokens = prompt, completion_tokens = completion,
      total_tokens = prompt + completion,
      prompt_tokens_details = { cached_tokens = cached or 0 } } }
end

--- Runs that in its database; gives the library and the connection, which is to be closed.
local function open(served, sql, row)
  local sqlite = ffi.load("sqlite3")
  local db = ffi.new("sqlite3 *[1]")
  assert(sqlite.sqlite3_open((served.data or served.folder .. "/data") .. "/ledger.db", db) == 0)
  sqlite.sqlite3_busy_timeout(db[0], 10000)
  local status = sqlite.sqlite3_exec(db[0], sql, row, nil, nil)
  if status == 0 then return sqlite, db[0] end
  local problem = ffi.string(sqlite.sqlite3_errmsg(db[0]))
  sqlite.sqlite3_close(db[0])
  error(problem, 0)
end

local function exec(served, sql, row)
  local sqlite, db = open(served, sql, row)
  sqlite.sqlite3_close(db)
end

--- Lets nobody else write into its database; gives the function that lets go.
function ledger.hold(served)
  local sqlite, db = open(served, "BEGIN IMMEDIATE")
  return function() sqlite.sqlite3_close(db) end
end

--- Writes into the database of a gateway that is at rest, as nothing but the clerk does; data: its
--- folder, where that is not its own.
function ledger.write(served, sql) exec(served, sql, nil) end

--- How many rows the database has of that, as "requests WHERE id = 'x'": what is committed.
function ledger.count(served, what)
  local count
  local row = ffi.cast("weir_row *", function(_, _, values)
    count = tonumber(ffi.string(values[0]))
    return 0
  end)
  local ok, problem = pcall(exec, served, "SELECT count(*) FROM " .. what, row)
  row:free()
  return ok and count or error(problem, 2)
end

--- A request's body with these members.
function ledger.request(members)
  local body = { model = "default", max_tokens = 100,
    messages = { { role = "user", content = "hi" } } }
  for name, value in pairs(members or {}) do body[name] = value end
  return cjson.encode(body)
end

--- A request of whoever has these headers, which the upstream answers; gives its status.
function ledger.serve(served, upstream, headers)
  local client = served:request { body = ledger.request(), headers = headers }
  upstream:answer(200, ledger.answer(10, 5), { Connection = "close" })
  return client:read_response().status
end

--- One that nobody answers: its status and the error's code.
function ledger.refusal(served, headers)
  local response = served:request({ body = ledger.request(), headers = headers }):read_response()
  return response.status, cjson.decode(response.body).error.code
end

return ledger
