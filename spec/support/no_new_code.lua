--- luajit -joff spec/support/no_new_code.lua COMMAND...: runs it where no memory may become code,
--- as systemd's MemoryDenyWriteExecute has it; exits with 77 where the kernel has no such thing.

local ffi = require("ffi")

ffi.cdef [[
int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d);
int execvp(const char *file, const char *const argv[]);
]]

local PR_SET_MDWE, REFUSE_EXEC_GAIN = 65, 1 -- linux/prctl.h, since Linux 6.3

if ffi.C.prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0) ~= 0 then os.exit(77) end
local argv = ffi.new("const char *[?]", #arg + 1)
for i, word in ipairs(arg) do
  argv[i - 1] = word
end
ffi.C.execvp(arg[1], argv)
os.exit(126)
