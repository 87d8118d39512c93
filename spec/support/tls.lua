--- A client that speaks TLS, through OpenSSL's own library: a socket with every record in sight.
--
--     local client = gateway:connect { tls = {} }   -- then as over plain HTTP

local libc = require("spec.support.libc")
local socket = require("spec.support.socket")
local process = require("spec.support.process")
local ffi = libc.ffi

local registry = debug.getregistry()
if not registry["weir.tls"] then -- FFI forgets nothing between spec files
  registry["weir.tls"] = true
  ffi.cdef [[
    typedef struct ssl_st SSL; typedef struct ssl_ctx_st SSL_CTX;
    const void *TLS_client_method(void);
    SSL_CTX *SSL_CTX_new(const void *method);
    void SSL_CTX_free(SSL_CTX *context);
    long SSL_CTX_ctrl(SSL_CTX *context, int command, long number, void *ptr);
    int SSL_CTX_load_verify_locations(SSL_CTX *context, const char *file, const char *folder);
    void SSL_CTX_set_verify(SSL_CTX *context, int mode, void *callback);
    int SSL_CTX_set_alpn_protos(SSL_CTX *context, const char *protocols, unsigned len);
    SSL *SSL_new(SSL_CTX *context);
    void SSL_free(SSL *ssl);
    int SSL_set_fd(SSL *ssl, int fd);
    int SSL_set1_host(SSL *ssl, const char *name);
    int SSL_connect(SSL *ssl);
    const void *TLS_server_method(void);
    int SSL_CTX_use_certificate_file(SSL_CTX *context, const char *file, int type);
    int SSL_CTX_use_PrivateKey_file(SSL_CTX *context, const char *file, int type);
    int SSL_accept(SSL *ssl);
    int SSL_renegotiate(SSL *ssl);
    int SSL_do_handshake(SSL *ssl);
    int SSL_read(SSL *ssl, void *bytes, int room);
    int SSL_peek(SSL *ssl, void *bytes, int room);
    int SSL_write(SSL *ssl, const void *bytes, int len);
    int SSL_shutdown(SSL *ssl);
    int SSL_get_error(const SSL *ssl, int result);
    const char *SSL_get_version(const SSL *ssl);
    void SSL_get0_alpn_selected(const SSL *ssl, const char **protocol, unsigned *len);
    void *SSL_get1_peer_certificate(const SSL *ssl);
    void *signal(int number, void *handler);
    void X509_free(void *certificate);
    void *X509_get_subject_name(void *certificate);
    char *X509_NAME_oneline(void *name, char *to, int size);
    unsigned long ERR_get_error(void);
    const char *ERR_reason_error_string(unsigned long error);
    void ERR_clear_error(void);
  ]]
end

local function library()
  for _, name in ipairs { "libssl.so.3", "ssl" } do
    local found, lib = pcall(ffi.load, name)
    if found then return lib end
  end
  error("libssl is not there")
end

local ssl = library()
local WANT_READ, WANT_WRITE, ZERO_RETURN = 2, 3, 6
local PEM = 1
local SIGPIPE, IGNORE = 13, ffi.cast("void *", 1)
local SET_MIN, SET_MAX, SET_MODE = 123, 124, 33 -- commands of SSL_CTX_ctrl
local VERSIONS = { ["1.0"] = 0x301, ["1.1"] = 0x302, ["1.2"] = 0x303, ["1.3"] = 0x304 }

local tls = {}

--- A key and a certificate for these names, in folder: file.key and file.pem.
function tls.make_certificate(folder, file, name, more)
  local command = { "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
    "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=" .. name,
    "-addext", "subjectAltName=DNS:" .. name .. ",IP:127.0.0.1",
    "-keyout", folder .. "/" .. file .. ".key", "-out", folder .. "/" .. file .. ".pem" }
  for _, word in ipairs(more or {}) do
    command[#command + 1] = word
  end
  local made = process.start(command)
  assert(made:wait(20) == 0, made.text.err)
end

local function context_of(options)
  local method = options.key and ssl.TLS_server_method or ssl.TLS_client_method
  local context = ssl.SSL_CTX_new(method())
  ssl.SSL_CTX_ctrl(context, SET_MODE, 3, nil) -- partial and moving writes
  for command, version in pairs { [SET_MIN] = options.min, [SET_MAX] = options.max } do
    ssl.SSL_CTX_ctrl(context, command, VERSIONS[version], nil)
  end
  if options.ca then
    assert(ssl.SSL_CTX_load_verify_locations(context, options.ca, nil) == 1, options.ca)
    ssl.SSL_CTX_set_verify(context, 1, nil)
  end
  if options.key then
    assert(ssl.SSL_CTX_use_certificate_file(context, options.cert, PEM) == 1, options.cert)
    assert(ssl.SSL_CTX_use_PrivateKey_file(context, options.key, PEM) == 1, options.key)
  end
  if options.alpn then ssl.SSL_CTX_set_alpn_protos(context, options.alpn, #options.alpn) end
  return context
end

--- Why the last call failed, as OpenSSL words it.
local function reason()
  local text = ssl.ERR_reason_error_string(ssl.ERR_get_error())
  return text ~= nil and ffi.string(text) or "closed"
end

local function shake_hands(self, step)
  local deadline = libc.deadline()
  while true do
    ssl.ERR_clear_error()
    local result = step(self.ssl)
    if result == 1 then return true end
    local why = ssl.SSL_get_error(self.ssl, result)
    if why ~= WANT_READ and why ~= WANT_WRITE then return nil, reason() end
    assert(libc.wait(self.fd, why == WANT_READ and libc.POLLIN or libc.POLLOUT, deadline),
      "no handshake in time")
  end
end

local room = ffi.new("char[?]", 65536)
local Secure = {}

--- One record at most; nil and "closed" after a close in order, "reset" after one that was not.
function Secure:try_receive(seconds)
  local deadline = libc.deadline(seconds)
  while true do
    ssl.ERR_clear_error()
    local count = ssl.SSL_read(self.ssl, room, 65536)
    if count > 0 then return ffi.string(room, count) end
    local why = ssl.SSL_get_error(self.ssl, count)
    if why == ZERO_RETURN then return nil, "closed" end
    if why ~= WANT_READ then return nil, "reset" end
    if not libc.wait(self.fd, libc.POLLIN, deadline) then return nil, "timeout" end
  end
end

function Secure:try_send(bytes)
  ssl.ERR_clear_error()
  local handler = libc.C.signal(SIGPIPE, IGNORE) -- OpenSSL writes without MSG_NOSIGNAL
  local count = ssl.SSL_write(self.ssl, bytes, #bytes)
  libc.C.signal(SIGPIPE, handler)
  if count > 0 then return count end
  local why = ssl.SSL_get_error(self.ssl, count)
  return (why == WANT_WRITE or why == WANT_READ) and 0 or nil
end

--- Whether bytes are there; tickets of sessions are none.
function Secure:is_readable()
  ssl.ERR_clear_error()
  return #self.buffer > 0 or ssl.SSL_peek(self.ssl, room, 1) > 0
end

function Secure:is_closed()
  ssl.ERR_clear_error()
  local count = ssl.SSL_peek(self.ssl, room, 1)
  return count <= 0 and ssl.SSL_get_error(self.ssl, count) ~= WANT_READ
end

function Secure:close()
  if self.ssl then
    ssl.SSL_free(self.ssl)
    ssl.SSL_CTX_free(self.context)
    self.ssl = nil
  end
  socket.Socket.close(self)
end

--- As the server of a TLS 1.2 connection, asks for another handshake and waits for none.
function Secure:renegotiate()
  assert(ssl.SSL_renegotiate(self.ssl) == 1)
  assert(ssl.SSL_do_handshake(self.ssl) == 1, "the question could not be sent")
end

--- Bytes as they are on the wire, past this end's TLS: at least so many.
function Secure:receive_wire(count)
  local got = 0
  while got < count do
    local bytes, why = socket.Socket.try_receive(self)
    assert(bytes, ("%s after %d bytes of %d"):format(why, got, count))
    got = got + #bytes
  end
end

--- Says in order that no more comes.
function Secure:end_secure()
  ssl.SSL_shutdown(self.ssl)
end

--- "TLSv1.3", and the protocol that ALPN chose.
function Secure:facts()
  local text, len = ffi.new("const char *[1]"), ffi.new("unsigned[1]")
  ssl.SSL_get0_alpn_selected(self.ssl, text, len)
  return ffi.string(ssl.SSL_get_version(self.ssl)), ffi.string(text[0], len[0])
end

--- The subject of the certificate that the peer showed.
function Secure:subject()
  local certificate = ssl.SSL_get1_peer_certificate(self.ssl)
  local text = ffi.new("char[256]")
  ssl.X509_NAME_oneline(ssl.X509_get_subject_name(certificate), text, 256)
  ssl.X509_free(certificate)
  return ffi.string(text)
end

--- Gives a connected socket these methods, after a handshake; nil and why when there was none.
---@param self table a socket
---@param options { ca: string?, name: string?, min: string?, max: string?, alpn: string?,
---  cert: string?, key: string? } with key it is the server's end
function tls.secure(self, options)
  self.context = context_of(options)
  self.ssl = ssl.SSL_new(self.context)
  ssl.SSL_set_fd(self.ssl, self.fd)
  for name, method in pairs(Secure) do
    self[name] = method
  end
  if options.name then ssl.SSL_set1_host(self.ssl, options.name) end
  local done, why = shake_hands(self, options.key and ssl.SSL_accept or ssl.SSL_connect)
  if done then return self end
  self:close()
  return nil, why
end

return tls
