--- test.lua -- what `weir test` runs a spec file with: describe, it, before_each, after_each and
--- pending as busted has them. Each file has a Lua state of its own, each test a world of its own.
local assertions = require("weir.assertions")
local host = require("weir.host")
local sim = require("weir.sim")
local test = {}

local MAX_LOG = 40      -- lines of it that a failure shows
local MAX_PROBLEM = 600 -- bytes of a failure in one line

---@class weir.test.Block one describe: its hooks, and what stands in it, in order
local function block(name, parent)
  return { name = name, parent = parent, before = {}, after = {}, items = {} }
end

local function full_name(item)
  local parts = {}
  while item and item.name do
    table.insert(parts, 1, item.name)
    item = item.parent
  end
  return table.concat(parts, " ")
end

--- The functions that a spec file calls while it is read; they fill the block.
local function vocabulary(root)
  local current, words = root, {}

  function words.describe(name, body)
    local inner = block(name, current)
    current.items[#current.items + 1] = inner
    current = inner
    body()
    current = inner.parent
  end

  function words.it(name, body)
    current.items[#current.items + 1] = { name = name, parent = current, body = body }
  end

  --- As a test that is not written yet; or within one, which ends there.
  function words.pending(name)
    if words.is_running then error({ pending = name or "" }, 0) end
    current.items[#current.items + 1] = { name = name, parent = current, pending = true }
  end

  function words.before_each(fn) current.before[#current.before + 1] = fn end
  function words.after_each(fn) current.after[#current.after + 1] = fn end
  words.context = words.describe
  return words
end

--- An error as text: an assertion's has its place, any other a traceback of the spec's own.
local function traced(err)
  if type(err) == "table" then return err end
  local text = tostring(err)
  if text:find("\nexpected", 1, true) or text:find(": expected", 1, true) then return text end
  local trace = debug.traceback("", 2):gsub("\n%s+%[C%][^\n]*", "")
    :gsub("\n%s+lua/weir/[^\n]*", ""):gsub("\n%s+%[string[^\n]*", "")
  return text .. trace:gsub("^\nstack traceback:", "")
end

local function run_hooks(item, name)
  local blocks, at = {}, item.parent
  while at do
    table.insert(blocks, name == "before" and 1 or #blocks + 1, at)
    at = at.parent
  end
  for _, one in ipairs(blocks) do
    for _, hook in ipairs(one[name]) do hook() end
  end
end

local function attempt(item)
  sim.reset()
  local ok, err = xpcall(function()
    run_hooks(item, "before")
    item.body()
  end, traced)
  local after_ok, after_err = xpcall(run_hooks, traced, item, "after")
  if ok and not after_ok then return false, after_err end
  return ok, err
end

--- What the gateway would have logged about the last requests: all, or what went wrong in Lua.
local function log_text(is_all)
  local lines = {}
  for _, line in ipairs(sim.log()) do
    line.time = nil -- the real one
    if line.event == "policy_error" or line.event == "filter_error" then
      lines[#lines + 1] = ("%s: %s"):format(line.event, line.error)
    elseif is_all then
      lines[#lines + 1] = host.json_encode(line)
    end
    if #lines == MAX_LOG then break end
  end
  return #lines > 0 and "\nlog: " .. table.concat(lines, "\nlog: ") or ""
end

local Report = {}
Report.__index = Report

function Report:say(text) self.lines[#self.lines + 1] = text end

function Report:note(name, err)
  self.failed = self.failed + 1
  self.failures[#self.failures + 1] = { name = name, err = tostring(err) }
end

function Report:run(item)
  local ok, err = true, { pending = "" }
  if not item.pending then
    self.words.is_running = true
    ok, err = attempt(item)
    self.words.is_running = false
  end
  local name = full_name(item)
  if item.pending or type(err) == "table" and err.pending then
    self.pending = self.pending + 1
    self:say("pending  " .. name)
  elseif ok then
    self.passed = self.passed + 1
    if self.verbose then self:say("ok       " .. name) end
  else
    self:note(name, err)
    self:say("FAILED   " .. name)
    self:say("    " .. (tostring(err) .. log_text(self.verbose)):gsub("\n", "\n    "))
  end
end

function Report:walk(items)
  for _, item in ipairs(items) do
    if item.items then self:walk(item.items) else self:run(item) end
  end
end

--- What a spec requires: the simulator, else what its policies would.
local function make_require(project)
  return function(name)
    if name == "weir.sim" then return sim end
    return project.require(name)
  end
end

local function load_spec(path, words, project)
  local text, problem = host.read_file(path)
  if not text then error(problem, 0) end
  local env = { require = make_require(project), assert = assertions.assert }
  for name, fn in pairs(words) do env[name] = fn end
  setmetatable(env, { __index = _G })
  env._G = env
  local chunk, message = host.compile(text, "@" .. path, env)
  if not chunk then error(message, 0) end
  chunk()
end

local function report_of(path, verbose, project)
  local root = block(nil, nil)
  local words = vocabulary(root)
  local report = setmetatable({
    words = words, verbose = verbose, lines = {}, failures = {},
    passed = 0, failed = 0, pending = 0,
  }, Report)
  local ok, err = xpcall(load_spec, traced, path, words, project)
  if ok then
    report:walk(root.items)
  else
    report:note("", err)
    report:say("FAILED   " .. path .. " cannot be read\n    " .. tostring(err):gsub("\n", "\n    "))
  end
  return report
end

local function with_counts(report, lines)
  local counts = ("%d %d %d\n"):format(report.passed, report.failed, report.pending)
  local said = table.concat(lines, "\n")
  return counts .. said .. (said ~= "" and "\n" or ""), report.failed
end

--- Runs one spec file.
---@param path string
---@param folder string where its weir.lua is, with a slash, or ""
---@param verbose string "" to name only what does not pass
---@return string text the counts passed, failed and pending in the first line, then what to print
---@return integer failed
function test.run(path, folder, verbose)
  local report = report_of(path, verbose ~= "", sim.open(folder))
  return with_counts(report, report.lines)
end

--- A failure as one line that begins with file and line.
local function problem_of(path, failure)
  local text = failure.err:gsub("%s+", " ")
  local place, rest = text:match("^(.-:%d+): (.*)$")
  if not place or place:find(" ", 1, true) then
    place, rest = text:match(" (%S+%.lua:%d+):") or path, text
  end
  if failure.name == "" then return ("%s: the spec cannot be read: %s"):format(place, rest) end
  return ("%s: the spec %q failed: %s"):format(place, failure.name, rest:sub(1, MAX_PROBLEM))
end

--- Runs one spec file as a proof of the configuration at config_path.
---@return string text the counts, then a line for each test that failed
---@return integer failed
function test.prove(path, folder, config_path)
  local report, lines = report_of(path, false, sim.open(folder, config_path)), {}
  for i, failure in ipairs(report.failures) do lines[i] = problem_of(path, failure) end
  return with_counts(report, lines)
end

return test
