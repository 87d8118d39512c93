-- Providers that speak TLS: everything else in spec/flow speaks plain HTTP with them.  A small
-- server of Node's speaks TLS in front of a scripted provider.

local gateway = require("spec.support.gateway")
local openai = require("spec.support.openai")
local process = require("spec.support.process")
local socket = require("spec.support.socket")
local tls = require("spec.support.tls")
local world = require("spec.support.world")

local MIB = 1024 * 1024

--- A key and a certificate for a name, in folder: file.key and file.pem.
local function make_certificate(folder, file, name)
  local made = process.start { "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
    "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=" .. name,
    "-addext", "subjectAltName=DNS:" .. name, "-keyout", folder .. "/" .. file .. ".key",
    "-out", folder .. "/" .. file .. ".pem" }
  assert(made:wait(20) == 0, made.text.err)
end

describe("a provider with TLS", function()
  local folder, w, first, second, front

  setup(function()
    folder = gateway.folder {}
    make_certificate(folder, "good", "localhost")
    make_certificate(folder, "other", "elsewhere.example")
  end)

  teardown(function()
    gateway.remove_folder(folder)
  end)

  --- Puts TLS in front of first; gives the process, whose stdout tells of each handshake.
  local function serve_tls(certificate)
    local server = process.start { "node", "spec/support/tls_front.mjs",
      folder .. "/" .. certificate .. ".key", folder .. "/" .. certificate .. ".pem",
      tostring(first.port) }
    w.processes[#w.processes + 1] = server
    local port = server:wait_for("out", function(text)
      return tonumber(text:match("listening on (%d+)"))
    end, "the TLS server to listen")
    first.url = ("https://localhost:%d/v1"):format(port)
    return server
  end

  local function start(certificate, trusted)
    front = serve_tls(certificate or "good")
    return w:gateway { env = { SSL_CERT_FILE = folder .. "/" .. (trusted or "good") .. ".pem" } }
  end

  before_each(function()
    w = world.new()
    first, second = w:upstream("first"), w:upstream("second")
  end)

  after_each(function()
    w:close()
  end)

  it("answers, plainly and streamed, over one connection", function()
    local started = start()
    local client = started:chat()
    local connection = first:answer(200, openai.answer())
    assert.equal(openai.answer(), client:read_response().body)
    client = started:chat { stream = true }
    assert.equal("POST", connection:read_request().method)
    connection:start_stream()
    connection:send_chunk(openai.content("a"))
    client:read_head()
    assert.equal(openai.content("a"), client:read_chunk())
    connection:send_chunk(openai.finish .. openai.done)
    connection:finish_stream()
    assert.equal(openai.finish .. openai.done, client:read_chunks())
    local said, handshakes = front:read("out"):gsub("handshake", "%0")
    assert.equal(1, handshakes)
    assert.truthy(said:find("TLSv1.3 http/1.1", 1, true))
  end)

  it("takes and gives large bodies whole", function()
    local started = start()
    local text = ("0123456789abcdef"):rep(4 * MIB / 16)
    local client = started:connect()
    client:request { body = ('{"model":"default","messages":[{"role":"user","content":"%s"}]}')
      :format(text) }
    local connection = first:accept()
    local asked = connection:read_request()
    assert.truthy(asked.body:find(text, 1, true))
    connection:respond(200, openai.answer(text))
    assert.equal(openai.answer(text), client:read_response().body)
  end)

  it("waits for a client that reads slowly, and loses nothing", function()
    local started = start()
    local client = started:connect { receive_buffer = 4096 }
    client:request { body = openai.request(true) }
    local connection = first:take()
    local frame = openai.content(("x"):rep(30000))
    connection:start_stream()
    local count = 200 -- 6 MB: more than all buffers on the way
    local want = count * #frame + #openai.finish + #openai.done
    local pending = ("%x\r\n%s\r\n"):format(#frame, frame):rep(count)
      .. ("%x\r\n%s\r\n"):format(#openai.finish + #openai.done, openai.finish .. openai.done)
      .. "0\r\n\r\n"
    local got = 0
    for _ = 1, 50 do pending = pending:sub((connection:try_send(pending) or 0) + 1) end
    client:read_head()
    while got < want do
      if #pending > 0 then pending = pending:sub((connection:try_send(pending) or 0) + 1) end
      got = got + #assert(client:read_chunk())
    end
    assert.equal(want, got)
    assert.is_nil(client:read_chunk())
  end)

  it("is asked again after it closed a kept connection", function()
    local started = start()
    local client = started:chat()
    local connection = first:answer(200, openai.answer())
    client:read_response()
    connection:close()
    front:wait_for("out", function(text) return text:find("closed") end, "both to close")
    client = started:chat()
    first:answer(200, openai.answer("again"))
    assert.equal(openai.answer("again"), client:read_response().body)
  end)

  it("loses its connection when the client goes", function()
    local started = start()
    local client = started:chat { stream = true }
    local connection = first:take()
    client:close()
    assert.truthy(connection:wait_closed())
    started:wait_log("event=request", "status=499")
  end)

  -- Amid a handshake nothing can be written, though the socket would take it: the wait for its
  -- answer would be a loop.
  it("asks in vain for another handshake, and is sent the next request", function()
    local listener = socket.listen()
    first.url = ("https://localhost:%d/v1"):format(listener.port)
    local started = w:gateway { env = { SSL_CERT_FILE = folder .. "/good.pem" } }
    local client = started:chat()
    local peer = listener:accept()
    tls.secure(peer, { cert = folder .. "/good.pem", key = folder .. "/good.key", max = "1.2" })
    peer:read_until("}]}")
    local body = openai.answer()
    peer:send(("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s")
      :format(#body, body))
    client:read_response()
    peer:renegotiate()
    started:chat { body = (openai.request():gsub("hi", ("x"):rep(8000), 1)) }
    peer:receive_wire(8000)
    peer:close()
    listener:close()
  end)

  for case, certificates in pairs {
    ["that nobody vouches for"] = { "good", "other" },
    ["for another name"] = { "other", "other" },
  } do
    it("is passed over with a certificate " .. case, function()
      local started = start(certificates[1], certificates[2])
      local client = started:chat()
      second:answer(200, openai.answer())
      local response = client:read_response()
      assert.equal(200, response.status)
      started:wait_log("event=attempt", "target=first/first-model", "outcome=tls")
    end)
  end

  it("is passed over when it speaks no TLS at all", function()
    first.url = first.url:gsub("^http:", "https:")
    local started = w:gateway()
    local client = started:chat()
    first:accept():send("HTTP/1.1 400 Bad Request\r\n\r\n")
    second:answer(200, openai.answer())
    assert.equal(200, client:read_response().status)
    started:wait_log("event=attempt", "target=first/first-model", "outcome=tls")
  end)
end)
