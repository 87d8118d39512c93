local gateway = require("spec.support.gateway")
local http = require("spec.support.http")
local libc = require("spec.support.libc")
local openai = require("spec.support.openai")
local process = require("spec.support.process")
local world = require("spec.support.world")

describe("weir mock", function()
  local w

  before_each(function()
    w = world.new()
  end)

  after_each(function()
    w:close()
  end)

  local function get(mock, path)
    return http.connect(mock.port):request { path = path }:read_response().json
  end

  --- One request on a connection of its own.
  local function ask(mock, body, path)
    body.messages = { { role = "user", content = "hi" } }
    body.model = body.model or "m"
    return http.connect(mock.port):request { body = body, path = path }:read_response()
  end

  local function events(response)
    local list = {}
    for i, data in ipairs(openai.events(response.body)) do
      list[i] = data == "[DONE]" and data or http.decode(data)
    end
    return list
  end

  --- What a stream said, joined, by the member of delta.
  local function said(response, member)
    local text = ""
    for _, event in ipairs(events(response)) do
      local choice = type(event) == "table" and event.choices[1]
      text = text .. (choice and choice.delta and choice.delta[member] or "")
    end
    return text
  end

  describe("as a provider", function()
    it("answers a chat request in OpenAI's shape", function()
      local response = ask(w:mock("m", "--text", "one two three", "--name", "paul"), {})
      local answer = response.json
      assert.equal(200, response.status)
      assert.equal("chat.completion", answer.object)
      assert.equal("m", answer.model)
      assert.equal("fp_paul", answer.system_fingerprint)
      assert.equal("one two three", answer.choices[1].message.content)
      assert.equal("stop", answer.choices[1].finish_reason)
      assert.equal(3, answer.usage.completion_tokens)
      assert.equal(answer.usage.prompt_tokens + 3, answer.usage.total_tokens)
    end)

    it("streams a role, a word a chunk, a finish and [DONE], each in a chunk of its own", function()
      local response = ask(w:mock("m", "--text", "one two three"), { stream = true })
      local list = events(response)
      assert.equal("text/event-stream; charset=utf-8", response.headers["content-type"])
      assert.equal("complete", response.ended)
      assert.equal(6, #response.chunks)
      assert.equal("assistant", list[1].choices[1].delta.role)
      assert.equal(" two", list[3].choices[1].delta.content)
      assert.equal("stop", list[5].choices[1].finish_reason)
      assert.equal("[DONE]", list[6])
      assert.equal("one two three", said(response, "content"))
    end)

    it("sends the usage chunk to who asks for it", function()
      local mock = w:mock("m", "--text", "one two")
      local without = events(ask(mock, { stream = true }))
      local list = events(ask(mock, { stream = true, stream_options = { include_usage = true } }))
      assert.equal(#without + 1, #list)
      assert.same({}, list[#list - 1].choices)
      assert.equal(2, list[#list - 1].usage.completion_tokens)
    end)

    it("thinks and calls a tool when told to", function()
      local mock = w:mock("m")
      local response = ask(mock, { stream = true,
        model = "mock:reasoning=let me see,tool=weather,text=%7B%22city%22:%22Oslo%22%7D" })
      local call = events(response)[1].choices[1].delta.tool_calls[1]
      assert.equal("weather", call["function"].name)
      assert.equal("let me see", said(response, "reasoning_content"))
      local plain = ask(mock, { model = "mock:tool=weather,text=%7B%7D" }).json.choices[1]
      assert.equal("{}", plain.message.tool_calls[1]["function"].arguments)
      assert.equal("tool_calls", plain.finish_reason)
    end)

    it("serves completions, embeddings and models under any prefix", function()
      local mock = w:mock("m", "--text", "one two")
      assert.equal("one two", ask(mock, {}, "/openai/v1/completions").json.choices[1].text)
      assert.equal("text_completion", ask(mock, {}, "/completions").json.object)
      assert.equal(2, #ask(mock, { input = { "a", "b" } }, "/v1/embeddings").json.data)
      assert.equal("list", get(mock, "/v1/models").object)
      assert.equal(404, ask(mock, {}, "/v1/nothing").status)
    end)

    it("says the raw body it is given, streamed or plain", function()
      local mock = w:mock("m")
      local frame = ask(mock, { model = "mock:raw=data: x%0A%0A", stream = true })
      assert.equal("data: x\n\n", frame.body)
      assert.equal("chunked", frame.headers["transfer-encoding"])
      assert.equal("{}", ask(mock, { model = "mock:raw={}" }).body)
    end)

    it("answers requests that were sent ahead, in order", function()
      local client = http.connect(w:mock("m").port)
      for _, word in ipairs { "first", "second" } do
        client:request { body = { model = "mock:text=" .. word } }
      end
      assert.equal("first", client:read_response().json.choices[1].message.content)
      assert.equal("second", client:read_response().json.choices[1].message.content)
    end)

    it("reads a body that comes in chunks and in pieces", function()
      local client = http.connect(w:mock("m").port)
      client:send("POST /v1/chat/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
      client:send("5\r\n{\"mod")
      client:send("\r\n0c\r\nel\":\"pieces\"\r\n1\r\n}\r\n0\r\n\r\n")
      assert.equal("pieces", client:read_response().json.model)
    end)

    it("refuses a body that is not JSON, and an option it does not know", function()
      local mock = w:mock("m")
      local junk = http.connect(mock.port):request { body = "{" }:read_response()
      assert.equal(400, junk.status)
      assert.equal("invalid_json", junk.json.error.code)
      local unknown = ask(mock, { model = "mock:colour=red" })
      assert.equal(400, unknown.status)
      assert.truthy(unknown.json.error.message:find("colour", 1, true))
    end)

    it("keeps the connection, or closes it when the client says so", function()
      local client = http.connect(w:mock("m").port)
      client:request { body = { model = "m" } }:read_response()
      client:request { body = { model = "m" }, headers = { "Connection: close" } }
      assert.equal("close", client:read_response().headers.connection)
      assert.equal("closed", select(2, client:read_all()))
    end)
  end)

  describe("limits", function()
    it("refuses the request past --rpm with the time that is left", function()
      local mock, began = w:mock("m", "--rpm", "2", "--ratelimit", "groq"), libc.now()
      assert.equal("1", ask(mock, {}).headers["x-ratelimit-remaining-requests"])
      assert.equal(200, ask(mock, {}).status)
      local refused = ask(mock, {})
      assert.equal(429, refused.status)
      assert.equal("0", refused.headers["x-ratelimit-remaining-requests"])
      assert.truthy(tonumber(refused.headers["retry-after"]) >= 59 - (libc.now() - began))
      assert.equal("rate_limit_exceeded", refused.json.error.code)
      assert.equal(200, ask(mock, { model = "another" }).status)
    end)

    local formats = {
      openai = { "x-ratelimit-reset-requests", "^1m30s$" },
      groq = { "x-ratelimit-reset-tokens", "^1m30s$" },
      cerebras = { "x-ratelimit-reset-requests-day", "^90%.0+$" },
      openrouter = { "x-ratelimit-reset", "^%d%d%d%d%d%d%d%d%d%d%d%d%d$" },
      anthropic = { "anthropic-ratelimit-requests-reset", "^%d+%-%d%d%-%d%dT%d%d:%d%d:%d%dZ$" },
      mistral = { "ratelimitbysize-reset", "^90$" },
    }
    for provider, format in pairs(formats) do
      it("says the reset as " .. provider .. " does", function()
        local response = ask(w:mock("m"), { model =
          "mock:status=429,retry-after=90,ratelimit=" .. provider })
        assert.equal("90", response.headers["retry-after"])
        assert.truthy((response.headers[format[1]] or ""):find(format[2]))
      end)
    end

    it("says it in Gemini's body alone", function()
      local response = ask(w:mock("m"), { model =
        "mock:status=429,retry-after=46,ratelimit=gemini" })
      assert.equal("46s", response.json[1].error.details[1].retryDelay)
    end)

    it("tells which dimension is spent", function()
      local response = ask(w:mock("m"), { model =
        "mock:status=429,retry-after=7,ratelimit=openai,spent=tokens" })
      assert.equal("0", response.headers["x-ratelimit-remaining-tokens"])
      assert.not_equal("0", response.headers["x-ratelimit-remaining-requests"])
    end)
  end)

  describe("control", function()
    it("tells what it received, byte for byte, and how it ended", function()
      local mock = w:mock("m", "--keep")
      http.connect(mock.port):request {
        body = '{ "model":"m", "seed":12345678901234567890 }',
        path = "/v1/chat/completions?a=b",
        headers = { "Authorization: Bearer x" },
      }:read_response()
      local request = get(mock, "/mock/requests")[1]
      assert.equal("POST", request.method)
      assert.equal("/v1/chat/completions", request.path)
      assert.equal("a=b", request.query)
      assert.equal("Bearer x", request.headers.authorization)
      assert.equal('{ "model":"m", "seed":12345678901234567890 }', request.body)
      assert.equal("done", request.outcome)
    end)

    it("appends each request to the record", function()
      local folder = gateway.folder {}
      finally(function()
        gateway.remove_folder(folder)
      end)
      local mock = w:mock("m", "--record", folder .. "/record")
      ask(mock, { model = "recorded" })
      local lines = {}
      for line in io.lines(folder .. "/record") do
        lines[#lines + 1] = http.decode(line)
      end
      assert.equal(1, #lines)
      assert.equal("recorded", http.decode(lines[1].body).model)
    end)

    it("counts a connection that the client closed before the answer was whole", function()
      local mock = w:mock("m", "--keep")
      local client = http.connect(mock.port)
      client:request { body = { model = "mock:fault=stall_body", stream = true } }
      client:read_head()
      assert.equal(1, get(mock, "/mock/wait?open_streams=1").open_streams)
      client:close()
      local stats = get(mock, "/mock/wait?closed_by_peer=1&open_streams<1")
      assert.equal(1, stats.closed_by_peer)
      assert.equal(0, stats.open_streams)
      assert.equal("closed_by_peer", get(mock, "/mock/requests")[1].outcome)
    end)

    it("does not count a client that goes after its answer", function()
      local mock = w:mock("m")
      local client = http.connect(mock.port)
      client:request { body = { model = "m" } }:read_response()
      client:close()
      assert.equal(0, get(mock, "/mock/wait?open_connections<2").closed_by_peer)
    end)

    it("forgets what it counted", function()
      local mock = w:mock("m", "--rpm", "1", "--keep")
      ask(mock, {})
      assert.equal(429, ask(mock, {}).status)
      http.connect(mock.port):request { method = "POST", path = "/mock/clear" }:read_response()
      assert.equal(0, get(mock, "/mock/stats").requests)
      assert.same({}, get(mock, "/mock/requests"))
      assert.equal(200, ask(mock, {}).status)
    end)
  end)

  describe("command", function()
    local function run(...)
      local child = process.start(gateway.command("mock", ...))
      local status = child:wait()
      return status, child.text
    end

    it("ends with 0 on SIGTERM, with streams open", function()
      local mock = w:mock("m")
      local client = http.connect(mock.port)
      client:request { body = { model = "mock:fault=stall_body", stream = true } }:read_head()
      mock.process:signal(libc.SIGTERM)
      assert.equal(0, mock.process:wait())
    end)

    it("explains itself with --help", function()
      local status, text = run("--help")
      assert.equal(0, status)
      assert.truthy(text.out:find("stall_body:PLACE", 1, true))
    end)

    it("ends with 2 on bad usage, and says what is wrong", function()
      for _, args in ipairs {
        { "--colour" }, { "--chunks" }, { "--chunks", "many" }, { "--fault", "sunburn" },
        { "--fault", "status:9" }, { "--fault-rate", "2" }, { "--ratelimit", "nobody" },
        { "--shape", "round" }, { "file" },
      } do
        local status, text = run(unpack(args))
        assert.equal(2, status, args[1])
        assert.truthy(text.err:find(args[1], 1, true), text.err)
      end
    end)

    it("ends with 1 when it cannot listen", function()
      local mock = w:mock("m")
      local status, text = run("--listen", "127.0.0.1:" .. mock.port)
      assert.equal(1, status)
      assert.truthy(text.err:find("cannot listen", 1, true))
    end)
  end)
end)
