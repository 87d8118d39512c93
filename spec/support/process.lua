--- Child processes: started, read line by line, ended by their id.

local libc = require("spec.support.libc")
local ffi, C = libc.ffi, libc.C

local O_CLOEXEC = 0x80000
local SYS_PIDFD_OPEN = 434

local Process = {}
Process.__index = Process

local process = {}

local function c_strings(list)
  local array = ffi.new("const char *[?]", #list + 1)
  for i, text in ipairs(list) do
    array[i - 1] = text
  end
  return array -- the strings live as long as list does
end

--- The environment as it is, with changes; false takes a name out.
local function environment(changes)
  local list, at = {}, 0
  while C.environ[at] ~= nil do
    local entry = ffi.string(C.environ[at])
    if changes[entry:match("^[^=]*")] == nil then list[#list + 1] = entry end
    at = at + 1
  end
  for name, value in pairs(changes) do
    if value then list[#list + 1] = name .. "=" .. value end
  end
  return list
end

local function pipe()
  local fds = ffi.new("int[2]")
  libc.check(C.pipe2(fds, O_CLOEXEC), "pipe")
  return fds[0], fds[1]
end

--- Starts a command; its stdout and stderr come back through one pipe each.
---@param argv string[]
---@param env table<string, string|false>?
---@param fds table<number, number>? what it gets beside the three, by the number there
function process.start(argv, env, fds)
  local out, out_end = pipe()
  local err, err_end = pipe()
  local actions = ffi.new("char[512]")
  C.posix_spawn_file_actions_init(actions)
  C.posix_spawn_file_actions_addopen(actions, 0, "/dev/null", 0, 0)
  C.posix_spawn_file_actions_adddup2(actions, out_end, 1)
  C.posix_spawn_file_actions_adddup2(actions, err_end, 2)
  for number, fd in pairs(fds or {}) do
    C.posix_spawn_file_actions_adddup2(actions, fd, number)
  end
  local pid, entries = ffi.new("pid_t[1]"), environment(env or {})
  local failure = C.posix_spawnp(pid, argv[1], actions, nil, c_strings(argv), c_strings(entries))
  C.posix_spawn_file_actions_destroy(actions)
  C.close(out_end)
  C.close(err_end)
  assert(failure == 0, argv[1] .. ": " .. ffi.string(C.strerror(failure)))
  local self = setmetatable({ pid = pid[0], text = { out = "", err = "" } }, Process)
  self.fds = { out = out, err = err }
  self.watch = tonumber(libc.check(C.syscall(SYS_PIDFD_OPEN, ffi.cast("int", pid[0]),
    ffi.cast("int", 0)), "pidfd_open"))
  return self
end

local room = ffi.new("char[?]", 65536)

--- Takes what a stream has; false when it has ended.
local function drain(self, stream)
  local fd = self.fds[stream]
  if not fd then return false end
  local count = C.read(fd, room, 65536)
  if count <= 0 then
    C.close(fd)
    self.fds[stream] = nil
    return false
  end
  self.text[stream] = self.text[stream] .. ffi.string(room, count)
  return true
end

--- Waits until matches(text so far) gives something, which it gives back.
---@param stream "out"|"err"
---@param matches fun(text: string): any
---@param what string for the error
function Process:wait_for(stream, matches, what, seconds)
  local deadline = libc.deadline(seconds)
  while true do
    local found = matches(self.text[stream])
    if found then return found end
    local fd = self.fds[stream]
    if not fd or not libc.wait(fd, libc.POLLIN, deadline) or not drain(self, stream) then
      error(("waited for %s; there is:\n%s%s"):format(what, self.text.out, self.text.err), 2)
    end
  end
end

--- What came so far, without waiting.
function Process:read(stream)
  while self.fds[stream] and libc.wait(self.fds[stream], libc.POLLIN, 0) do
    if not drain(self, stream) then break end
  end
  return self.text[stream]
end

function Process:signal(number)
  C.kill(self.pid, number)
end

--- Waits for the end; gives the exit status, or nil and the signal that ended it.
function Process:wait(seconds)
  local deadline = libc.deadline(seconds)
  if self.status then return self.status end
  -- a full pipe would keep it from ending, so both are read until the end comes
  local polls = ffi.new("struct pollfd[3]")
  while true do
    polls[0].fd, polls[0].events, polls[0].revents = self.watch, libc.POLLIN, 0
    polls[1].fd, polls[1].events, polls[1].revents = self.fds.out or -1, libc.POLLIN, 0
    polls[2].fd, polls[2].events, polls[2].revents = self.fds.err or -1, libc.POLLIN, 0
    local left = math.ceil(math.max(0, deadline - libc.now()) * 1000)
    if C.poll(polls, 3, left) == 0 and left == 0 then
      error("it does not end; it said:\n" .. self.text.out .. self.text.err, 2)
    end
    if polls[1].revents ~= 0 then drain(self, "out") end
    if polls[2].revents ~= 0 then drain(self, "err") end
    if polls[0].revents ~= 0 then break end
  end
  local status = ffi.new("int[1]")
  C.waitpid(self.pid, status, 0)
  self.ended = true
  C.close(self.watch)
  self:read("out")
  self:read("err")
  local signal = bit.band(status[0], 127)
  if signal ~= 0 then return nil, signal end
  self.status = bit.rshift(status[0], 8)
  return self.status
end

--- Ends it whatever it does: for clearing up after a failure.
function Process:kill()
  if not self.ended then
    self:signal(libc.SIGKILL)
    self:wait()
  end
end

local function read_file(path)
  local file = io.open(path, "rb")
  local text = file and file:read("*a")
  if file then file:close() end
  return text or ""
end

--- The ids of the children that live.
function Process:children()
  local list = {}
  local path = ("/proc/%d/task/%d/children"):format(self.pid, self.pid)
  for id in read_file(path):gmatch("%d+") do
    list[#list + 1] = tonumber(id)
  end
  return list
end

--- The seconds of CPU that a process has burnt: whatever else the machine does does not count.
function process.cpu(pid)
  return tonumber(read_file(("/proc/%d/schedstat"):format(pid)):match("^%d+")) / 1e9
end

--- Whether a process waits for something to happen; else it runs, or would if it had a CPU.
function process.is_asleep(pid)
  return read_file(("/proc/%d/stat"):format(pid)):match("%) (%a)") == "S"
end

--- The seconds that a process was ready to run while others had the processors.
function process.waited(pid)
  return tonumber(read_file(("/proc/%d/schedstat"):format(pid)):match("^%d+ (%d+)")) / 1e9
end

--- The seconds that work takes, without those in which this process and that one had no processor:
--- what else the machine does does not count.
function process.time(pid, work)
  local own = libc.C.getpid()
  local began, waited = libc.now(), process.waited(pid) + process.waited(own)
  work()
  return libc.now() - began - (process.waited(pid) + process.waited(own) - waited)
end

--- How many descriptors a process has open.
function process.descriptors(pid)
  local lfs, count = require("lfs"), 0
  for name in lfs.dir(("/proc/%d/fd"):format(pid)) do
    if name:find("^%d") then count = count + 1 end
  end
  return count
end

--- Waits until a process has no more than that many descriptors open.
function process.wait_descriptors(pid, most)
  local deadline = libc.deadline()
  while process.descriptors(pid) > most do
    if libc.now() > deadline then error("descriptors stay open", 2) end
    C.poll(nil, 0, 10) -- nothing tells when another process closes one
  end
end

--- Resident memory in bytes: of now ("VmRSS") or the most so far ("VmHWM").
function process.memory(pid, field)
  local text = read_file(("/proc/%d/status"):format(pid))
  return tonumber(text:match((field or "VmRSS") .. ":%s*(%d+)")) * 1024
end

return process
