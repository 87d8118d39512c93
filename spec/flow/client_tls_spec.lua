-- TLS with clients: a member `tls`, files that are watched, and the promises that hold over plain
-- HTTP.  (WEIR_SPEC_TLS=1 runs the other specs of this folder over TLS too: spec.support.gateway.)

local gateway = require("spec.support.gateway")
local libc = require("spec.support.libc")
local openai = require("spec.support.openai")
local process = require("spec.support.process")
local read_file = require("spec.support.read_file")
local tls = require("spec.support.tls")
local world = require("spec.support.world")

local MIB = 1024 * 1024

describe("TLS with clients", function()
  local folder, w, first, files

  setup(function()
    folder = gateway.folder {}
    tls.make_certificate(folder, "good", "localhost")
    tls.make_certificate(folder, "new", "renewed.example")
  end)

  teardown(function()
    gateway.remove_folder(folder)
  end)

  before_each(function()
    w = world.new()
    first = w:upstream("first")
    files = {
      ["cert.pem"] = read_file(folder .. "/good.pem"),
      ["key.pem"] = read_file(folder .. "/good.key"),
    }
  end)

  after_each(function()
    w:close()
  end)

  --- The gateway, whose clients speak TLS and trust its certificate.
  local function start(more)
    local started = w:gateway { files = files,
      more = '  workers = 1, tls = { cert = "cert.pem", key = "key.pem" },' .. (more or "") }
    started.tls = { ca = folder .. "/good.pem", name = "localhost" }
    return started
  end

  it("serves a plain answer", function()
    local client = start():chat()
    first:answer(200, openai.answer("over TLS"))
    local response = client:read_response()
    assert.equal(200, response.status)
    assert.equal(openai.answer("over TLS"), response.body)
  end)

  it("serves one request after the other on a connection", function()
    local client = start():connect()
    client:request { body = openai.request() }
    local provider = first:take()
    for i = 1, 3 do
      if i > 1 then
        client:request { body = openai.request() }
        provider:read_request()
      end
      provider:respond(200, openai.answer("answer " .. i))
      assert.equal(openai.answer("answer " .. i), client:read_response().body)
    end
  end)

  it("sends each frame of a stream at once, and as one record", function()
    local client = start():chat { stream = true }
    local provider = first:stream(openai.role, openai.content("a"))
    client:read_head()
    local seen = client:read_bytes(#openai.role + #openai.content("a"))
    assert.equal(openai.role .. openai.content("a"), seen)
    for i = 1, 3 do
      local frame = openai.content("frame " .. i)
      provider:send_chunk(frame)
      assert.equal(("%x\r\n%s\r\n"):format(#frame, frame), client:try_receive())
    end
    provider:send_chunk(openai.finish .. openai.done)
    provider:finish_stream()
    assert.equal(openai.finish .. openai.done, (client:read_chunks()))
  end)

  it("takes and gives bodies of many records", function()
    local text = ("x"):rep(3 * MIB)
    local body = ('{"model":"default","messages":[{"role":"user","content":"%s"}]}'):format(text)
    local client = start():chat { body = body }
    local _, request = first:answer(200, openai.answer(text))
    assert.equal(#body, #request.body + #"default" - #"first-model")
    assert.equal(openai.answer(text), client:read_response().body)
  end)

  it("ends an answer of HTTP/1.0 with a word, so that it is whole", function()
    local client = start():connect()
    local body = openai.request(true)
    client:send(("POST /v1/chat/completions HTTP/1.0\r\nContent-Type: application/json\r\n"
      .. "Content-Length: %d\r\n\r\n%s"):format(#body, body))
    local provider = first:stream(openai.content("a"), openai.finish, openai.done)
    provider:finish_stream()
    client:read_head()
    local rest, why = client:read_all()
    assert.equal(openai.content("a") .. openai.finish .. openai.done, rest)
    assert.equal("closed", why)
  end)

  it("closes without that word when a stream is cut", function()
    local client = start():chat { stream = true }
    local provider = first:stream(openai.content("a"))
    client:read_head()
    client:read_chunk()
    provider:reset()
    local rest, why = client:read_all()
    assert.is_truthy(rest:find('"error"', 1, true))
    assert.equal("reset", why)
  end)

  it("pauses the provider of a reader that is slow, and loses no byte", function()
    local client = start():connect { receive_buffer = 4096, tls = {} }
    client:request { body = openai.request(true) }
    local frame = openai.content(("y"):rep(4000))
    local chunk = ("%x\r\n%s\r\n"):format(#frame, frame)
    local provider = first:take()
    provider:set_send_buffer(65536)
    provider:start_stream()
    local sent, left = 0, chunk
    while true do
      local count = provider:try_send(left)
      if count == 0 and not libc.wait(provider.fd, libc.POLLOUT, libc.deadline(0.5)) then break end
      left = left:sub(count + 1)
      if left == "" then sent, left = sent + 1, chunk end
      assert.is_true(sent * #chunk < 32 * MIB, "the provider was never paused")
    end
    client:read_head()
    assert.equal(frame:rep(sent), client:read_bytes(sent * #frame):sub(1, sent * #frame))
    provider:send(left .. "0\r\n\r\n")
    client:read_chunks()
  end)

  it("takes the provider along when the client goes", function()
    local started = start()
    local client = started:chat { stream = true }
    local provider = first:stream(openai.content("a"))
    client:read_head()
    client:read_chunk()
    local took = process.time(started:workers()[1], function()
      client:end_secure()
      client:close()
      provider:wait_closed()
    end)
    assert.is_true(took < 0.1 * libc.slower, ("%.0f ms"):format(took * 1000))
    started:wait_log("event=request", "status=499")
  end)

  it("speaks TLS 1.2 and 1.3, and HTTP/1.1 to whoever asks for it", function()
    local started = start()
    for _, version in ipairs { "1.2", "1.3" } do
      local client = started:connect { tls = { min = version, max = version,
        alpn = "\2h2\8http/1.1" } }
      assert.same({ "TLSv" .. version, "http/1.1" }, { client:facts() })
    end
  end)

  it("refuses TLS 1.1, and who speaks only HTTP/2", function()
    local started = start()
    assert.is_nil((started:connect { tls = { min = "1.1", max = "1.1" } }))
    local client, why = started:connect { tls = { alpn = "\2h2" } }
    assert.is_nil(client)
    assert.is_truthy(why:find("no application protocol", 1, true))
    started:wait_log("event=tls_refused", "reason=")
  end)

  it("resumes a session in whichever worker a client comes to", function()
    local started = w:gateway { files = files,
      more = '  workers = 2, tls = { cert = "cert.pem", key = "key.pem" },' }
    local command = process.start { "openssl", "s_client", "-tls1_2", "-reconnect", "-connect",
      "127.0.0.1:" .. started.port }
    command:wait(20)
    assert.equal(5, select(2, command.text.out:gsub("\nReused, TLSv1%.2", "")))
  end)

  it("tells who speaks plain HTTP what is wrong", function()
    local started = start()
    started.tls = nil
    local response = started:request { path = "/healthz" }:read_response()
    assert.equal(400, response.status)
    assert.equal("tls_required", response.json.error.code)
  end)

  it("ends a handshake that does not go on", function()
    local started = start "limits = { head_time = 0.3 },"
    started.tls = nil
    local silent, begun = started:connect(), started:connect()
    begun:send("\22\3\1\0\200\1\0\0\196\3\3") -- the first bytes of a ClientHello
    local took = silent:wait_closed() + begun:wait_closed()
    assert.is_true(took < 9) -- the time that there is without this is ten seconds
    started.process:wait_for("err", function(text)
      local _, count = text:gsub('event=tls_refused reason="the handshake did not end in time"', "")
      return count == 2
    end, "a line for each")
  end)

  it("answers what the gate refuses", function()
    local client = start():connect()
    client:send("GET /healthz HTTP/1.1\nHost: x\n\n")
    local response = client:read_response()
    assert.equal(400, response.status)
    assert.equal("bare_lf", response.json.error.code)
    assert.same({ "", "closed" }, { client:read_all() })
  end)

  describe("that changes", function()
    local function renew(started)
      started:write("key.pem", read_file(folder .. "/new.key"))
      started:write("cert.pem", read_file(folder .. "/new.pem"))
    end

    it("is taken while streams run, and cuts none", function()
      local started = start "reload = { watch = false },"
      local client = started:chat { stream = true }
      local provider = first:stream(openai.content("before"))
      client:read_head()
      client:read_chunk()
      renew(started)
      started:reload(2)
      assert.is_truthy(started:connect { tls = { ca = folder .. "/new.pem" } }
        :subject():find("renewed.example", 1, true))
      provider:send_chunk(openai.content("after") .. openai.done)
      provider:finish_stream()
      assert.equal(openai.content("after") .. openai.done, (client:read_chunks()))
      client:request { path = "/healthz" } -- the old connection lives on
      assert.equal(200, client:read_response().status)
    end)

    it("is seen by itself", function()
      local started = start()
      renew(started)
      started:wait_log("event=reloaded", "cause=change")
      started.tls = { ca = folder .. "/new.pem" }
      assert.equal(200, started:request { path = "/healthz" }:read_response().status)
    end)

    it("is warned of in its last days, at the start and after a reload", function()
      tls.make_certificate(folder, "long", "localhost", { "-days", "30" })
      local over = process.start { "openssl", "x509", "-in", folder .. "/long.pem", "-signkey",
        folder .. "/long.key", "-days", "-1", "-out", folder .. "/over.pem" }
      assert.equal(0, over:wait(), over.text.err)
      local started = start "reload = { watch = false },"
      started:wait_log("level=warn event=certificate_ends", "hours=47")
      started:write("key.pem", read_file(folder .. "/long.key"))
      started:write("cert.pem", read_file(folder .. "/long.pem"))
      started:reload(2)
      started:write("cert.pem", read_file(folder .. "/over.pem"))
      started:reload(3)
      started:wait_log("level=error event=certificate_ends", "hours=-24", "has ended")
      assert.equal(2, select(2, started:log():gsub("event=certificate_ends", "")))
    end)

    it("is refused when certificate and key do not belong together", function()
      local started = start "reload = { watch = false },"
      started:write("cert.pem", read_file(folder .. "/new.pem"))
      started.process:signal(libc.SIGHUP)
      local line = started:wait_log("event=reload_refused")
      assert.is_truthy(line:find("/cert.pem", 1, true))
      assert.is_truthy(line:find("/key.pem", 1, true))
      assert.equal(200, started:request { path = "/healthz" }:read_response().status)
    end)

    it("is taken away, or comes, with a reload on the same port", function()
      local started = start "reload = { watch = false },"
      local plain = w:config { more = "  workers = 1, reload = { watch = false }," }
      started:write("weir.lua", plain)
      local kept = started:connect()
      started:reload(2)
      kept:request { path = "/healthz" }
      assert.equal(200, kept:read_response().status)
      started.tls = nil
      assert.equal(200, started:request { path = "/healthz" }:read_response().status)
    end)
  end)

  describe("in weir check", function()
    local function check()
      local path = gateway.folder(files)
      local file = assert(io.open(path .. "/weir.lua", "wb"))
      file:write(w:config { more = '  tls = { cert = "cert.pem", key = "key.pem" },' })
      file:close()
      local argv = gateway.command("check", path .. "/weir.lua")
      local command = process.start(argv, { KEY = "x" })
      local status = command:wait(20)
      gateway.remove_folder(path)
      return status, command.text.out .. command.text.err
    end

    it("is described with its subject and its end", function()
      local status, said = check()
      assert.equal(0, status)
      assert.is_truthy(said:find("\ntls +CN = localhost, until %d+%-%d+%-%d+ %d+:%d+ UTC\n"))
    end)

    it("is refused with the file that is missing", function()
      files["key.pem"] = nil
      local status, said = check()
      assert.equal(3, status)
      assert.is_truthy(said:find("tls.key: cannot read .*/key.pem: No such file"))
    end)

    it("is refused with the file that holds something else", function()
      files["cert.pem"] = "not a certificate"
      assert.is_truthy(select(2, check()):find("cert.pem holds no certificate in PEM", 1, true))
    end)

    it("is refused for a key that is not the certificate's", function()
      files["key.pem"] = read_file(folder .. "/new.key")
      local status, said = check()
      assert.equal(3, status)
      assert.is_truthy(said:find("key.pem does not belong to the certificate", 1, true))
    end)

    it("is refused for a key with a password, which nobody is asked for", function()
      local path = gateway.folder(files)
      local made = process.start { "openssl", "ec", "-in", path .. "/key.pem", "-aes128",
        "-passout", "pass:secret", "-out", path .. "/locked.pem" }
      assert.equal(0, made:wait(20))
      files["key.pem"] = read_file(path .. "/locked.pem")
      gateway.remove_folder(path)
      assert.is_truthy(select(2, check()):find("or one with a password", 1, true))
    end)
  end)
end)
