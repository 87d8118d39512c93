--- The C library through FFI: what processes and sockets need, and a clock.
--
-- A spec never sleeps: it polls descriptors until a deadline, which only a
-- defect reaches.  WEIR_SLOWER stretches deadlines, for valgrind.

local registry = debug.getregistry()
local ffi = registry["weir.native"] and registry["weir.native"].ffi or require("ffi")

if not registry["weir.libc"] then -- FFI forgets nothing between spec files
  registry["weir.libc"] = true
  ffi.cdef [[
    typedef int pid_t; typedef long ssize_t; typedef unsigned int socklen_t;
    struct pollfd { int fd; short events; short revents; };
    struct timespec { long tv_sec; long tv_nsec; };
    struct sockaddr_in { unsigned short family; unsigned short port; unsigned char addr[4];
                         char zero[8]; };
    struct linger { int l_onoff; int l_linger; };
    int poll(struct pollfd *fds, unsigned long count, int timeout_ms);
    int clock_gettime(int clock, struct timespec *time);
    int socket(int domain, int type, int protocol);
    int bind(int fd, const struct sockaddr_in *addr, socklen_t len);
    int listen(int fd, int backlog);
    int accept4(int fd, void *addr, socklen_t *len, int flags);
    int connect(int fd, const struct sockaddr_in *addr, socklen_t len);
    int getsockname(int fd, struct sockaddr_in *addr, socklen_t *len);
    int setsockopt(int fd, int level, int name, const void *value, socklen_t len);
    int getsockopt(int fd, int level, int name, void *value, socklen_t *len);
    int shutdown(int fd, int how);
    ssize_t send(int fd, const void *bytes, size_t len, int flags);
    ssize_t recv(int fd, void *bytes, size_t len, int flags);
    ssize_t read(int fd, void *bytes, size_t len);
    int pipe2(int fds[2], int flags);
    int close(int fd);
    int kill(pid_t pid, int signal);
    pid_t getpid(void);
    pid_t waitpid(pid_t pid, int *status, int options);
    int posix_spawnp(pid_t *pid, const char *file, const void *actions, const void *attributes,
                     const char *const argv[], const char *const envp[]);
    int posix_spawn_file_actions_init(void *actions);
    int posix_spawn_file_actions_adddup2(void *actions, int fd, int as);
    int posix_spawn_file_actions_addopen(void *actions, int fd, const char *path, int flags,
                                         unsigned mode);
    int posix_spawn_file_actions_destroy(void *actions);
    char *mkdtemp(char *template);
    char *strerror(int errnum);
    long syscall(long number, ...);
    extern char **environ;
  ]]
end

local C = ffi.C

local libc = {
  ffi = ffi,
  C = C,
  POLLIN = 1,
  POLLOUT = 4,
  EINTR = 4,
  EAGAIN = 11,
  ECONNRESET = 104,
  EPIPE = 32,
  EINPROGRESS = 115,
  SIGHUP = 1,
  SIGKILL = 9,
  SIGTERM = 15,
  SIGCONT = 18,
  SIGSTOP = 19,
  slower = tonumber(os.getenv("WEIR_SLOWER")) or 1,
}

--- Seconds on the monotonic clock.
---@return number
function libc.now()
  local time = ffi.new("struct timespec")
  C.clock_gettime(1, time)
  return tonumber(time.tv_sec) + tonumber(time.tv_nsec) / 1e9
end

--- The moment that many seconds from now; twenty when nothing is said: only a defect waits so long,
--- and a machine that others use has held a spec up for more than five.
---@param seconds number?
---@return number
function libc.deadline(seconds)
  return libc.now() + (seconds or 20) * libc.slower
end

--- What the last call failed with.
---@return string
function libc.reason()
  return ffi.string(C.strerror(ffi.errno()))
end

--- Raises when a call gave -1.
---@param result number
---@param call string
function libc.check(result, call)
  if result == -1 then error(call .. ": " .. libc.reason(), 2) end
  return result
end

--- Waits until fd can be read (POLLIN) or written (POLLOUT); false at the deadline.
---@param fd number
---@param events number
---@param deadline number
---@return boolean
function libc.wait(fd, events, deadline)
  local poll = ffi.new("struct pollfd[1]", { { fd = fd, events = events } })
  while true do
    local left = math.max(0, deadline - libc.now())
    local count = C.poll(poll, 1, math.ceil(left * 1000))
    if count > 0 then return true end
    if count == 0 and left <= 0 then return false end
    if count == -1 and ffi.errno() ~= libc.EINTR then error("poll: " .. libc.reason()) end
  end
end

return libc
