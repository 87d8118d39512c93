-- Promise 3: bytes that nobody changed arrive as they came, in both directions.

local openai = require("spec.support.openai")
local world = require("spec.support.world")

-- Big integers, number text, escapes, order, white space, unknown and nested duplicate members:
-- all that printing JSON anew would change.
local odd = [[
{ "seed" : 9007199254740993,
  "temperature": 1.0, "top_p":1e-7,"big":1E400,
  "messages" : [ {"content":"caf\u00e9 \/ 😀 \ud83d\ude00", "role":"user"} ] ,
	"x_unknown":{"b":1,"a":2,"a":3}, "model"  :  "default" ,
  "user":"u" }]]

local odd_answer = '{ "id" : "x",\n"seed":9007199254740993, "choices":[ {"index":0,"message":'
  .. '{"role":"assistant","content":"caf\\u00e9 \\/ 1.0"},"finish_reason":"stop" } ]\t}\n'

describe("bytes", function()
  local w, first, second

  before_each(function()
    w = world.new()
    first, second = w:upstream("first"), w:upstream("second")
  end)

  after_each(function()
    w:close()
  end)

  it("of a plain request arrive but for the model's value", function()
    local client = w:gateway():chat { body = odd }
    local _, request = first:answer(200, openai.answer())
    assert.equal((odd:gsub('"default"', '"first-model"')), request.body)
    assert.equal(200, client:read_response().status)
  end)

  it("of a streamed request arrive but for the model's value when it asks for usage", function()
    local body = odd:gsub('"user":"u"',
      '"stream" : true, "stream_options":{ "include_usage" :true }')
    local client = w:gateway():chat { body = body }
    local provider, request = first:stream(openai.content("a"), openai.finish, openai.done)
    assert.equal((body:gsub('"default"', '"first-model"')), request.body)
    provider:finish_stream()
    assert.equal(200, client:read_response().status)
  end)

  it("of a streamed request gain only what asks for usage", function()
    local body = odd:gsub('"user":"u"', '"stream" : true')
    local client = w:gateway():chat { body = body }
    local provider, request = first:stream(openai.content("a"), openai.finish, openai.done)
    assert.is_true(request.json.stream_options.include_usage)
    local without = request.body
      :gsub(',?%s*"stream_options"%s*:%s*{%s*"include_usage"%s*:%s*true%s*}', "")
    assert.equal((body:gsub('"default"', '"first-model"')), without)
    provider:finish_stream()
    client:read_response()
  end)

  it("of each attempt start again from the client's", function()
    local client = w:gateway():chat { body = odd }
    first:answer(500, openai.failure("broken"))
    local _, request = second:answer(200, openai.answer())
    assert.equal((odd:gsub('"default"', '"second-model"')), request.body)
    client:read_response()
  end)

  it("of a body of several megabytes arrive", function()
    local body = '{"model":"default","messages":[{"role":"user","content":"'
      .. ("0123456789abcde\\n"):rep(200000) .. '"}]}'
    local gateway = w:gateway()
    local client = gateway:connect()
    client:send("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: "
      .. #body .. "\r\n\r\n")
    client:send(body)
    local _, request = first:answer(200, openai.answer())
    assert.is_true(request.body == body:gsub('"default"', '"first-model"'))
    client:read_response()
  end)

  it("of a request sent in chunks arrive", function()
    local gateway = w:gateway()
    local client = gateway:connect()
    client:send("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
      .. "\r\n")
    for piece in odd:gmatch("..?.?.?.?.?.?") do
      client:send(("%x\r\n%s\r\n"):format(#piece, piece))
    end
    client:send("0\r\n\r\n")
    local _, request = first:answer(200, openai.answer())
    assert.equal(#request.body, tonumber(request.headers["content-length"]))
    assert.equal((odd:gsub('"default"', '"first-model"')), request.body)
    client:read_response()
  end)

  it("of a plain answer arrive", function()
    local client = w:gateway():chat()
    first:answer(200, odd_answer)
    local response = client:read_response()
    assert.equal(odd_answer, response.body)
    assert.equal(#odd_answer, tonumber(response.headers["content-length"]))
  end)

  it("of a plain answer sent in chunks arrive", function()
    local client = w:gateway():chat()
    local provider = first:take()
    provider:send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
      .. "Transfer-Encoding: chunked\r\n\r\n")
    provider:send_chunk(odd_answer:sub(1, 50))
    provider:send_chunk(odd_answer:sub(51))
    provider:finish_stream()
    assert.equal(odd_answer, client:read_response().body)
  end)

  it("of a stream's frames arrive", function()
    local body = openai.request(true):gsub("}$", ',"stream_options":{"include_usage":true}}')
    local frames = {
      ": OPENROUTER PROCESSING\n\n",
      'event: chunk\r\nid: 7\r\ndata:{"choices":[ {"index":0, "delta":{"content":"a\\u00e9"}} ]}'
        .. "\r\n\r\n",
      'data: {"choices":[{"index":0,"delta":{"content":"big"}}],"seed":9007199254740993,'
        .. '"p":1.0}\n\n',
      ": a comment between\n\n",
      'data: {"choices":[{"index":0,"delta":{},\ndata: "finish_reason":"stop"}]}\n\n',
      openai.usage,
      openai.done,
    }
    local client = w:gateway():chat { body = body }
    first:stream(table.concat(frames)):finish_stream()
    assert.equal(table.concat(frames), client:read_response().body)
  end)

  it("of a stream arrive however the network cuts them", function()
    local body = openai.request(true):gsub("}$", ',"stream_options":{"include_usage":true}}')
    local frames = table.concat { openai.role, openai.content("one"), ": ping\n\n",
      openai.content("two"):gsub("\n\n$", "\r\n\r\n"), openai.finish, openai.usage, openai.done }
    local gateway = w:gateway()
    for _, size in ipairs { 1, 2, 3, 7, 64, 100 } do
      local client = gateway:chat { body = body }
      local provider = first:stream()
      for at = 1, #frames, size do
        provider:send_chunk(frames:sub(at, at + size - 1))
      end
      provider:finish_stream()
      assert.equal(frames, client:read_response().body)
      provider:close()
    end
  end)
end)

describe("usage", function()
  local w, first

  before_each(function()
    w = world.new()
    first = w:upstream("first")
  end)

  after_each(function()
    w:close()
  end)

  it("is hidden from a client that did not ask for it", function()
    local client = w:gateway():chat { stream = true }
    first:stream(openai.role, openai.content("a"), openai.finish, openai.usage, openai.done)
      :finish_stream()
    assert.equal(openai.role .. openai.content("a") .. openai.finish .. openai.done,
      client:read_response().body)
  end)

  it("is logged all the same", function()
    local gateway = w:gateway()
    local client = gateway:chat { stream = true }
    first:stream(openai.content("a"), openai.finish, openai.usage, openai.done):finish_stream()
    client:read_response()
    gateway:wait_log("event=request", "prompt_tokens=9", "completion_tokens=3")
  end)
end)
