--- The messages of OpenAI's chat API that specs send and expect: fixed text, so
--- that a spec can compare bytes.

local openai = {}

local head = '{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"m"'

--- One event of a stream with this delta.
---@param delta string JSON
---@param finish string?
function openai.event(delta, finish)
  return ('data: %s,"choices":[{"index":0,"delta":%s,"finish_reason":%s}]}\n\n'):format(
    head, delta, finish and '"' .. finish .. '"' or "null")
end

openai.role = openai.event('{"role":"assistant","content":""}')
openai.finish = openai.event("{}", "stop")
openai.done = "data: [DONE]\n\n"
openai.usage = "data: " .. head
  .. ',"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}}\n\n'

--- An event that brings text.
function openai.content(text)
  return openai.event('{"content":"' .. text .. '"}')
end

--- A whole plain answer.
function openai.answer(text)
  return '{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"m",'
    .. '"choices":[{"index":0,"message":{"role":"assistant","content":"' .. (text or "hello")
    .. '"},"finish_reason":"stop"}],'
    .. '"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}}'
end

--- An error in OpenAI's shape.
function openai.failure(message, kind, code)
  return ('{"error":{"message":"%s","type":"%s","param":null,"code":%s}}'):format(
    message, kind or "server_error", code and '"' .. code .. '"' or "null")
end

--- A chat request's body.
---@param stream boolean?
function openai.request(stream, model)
  return ('{"model":"%s","messages":[{"role":"user","content":"hi"}]%s}'):format(
    model or "default", stream and ',"stream":true' or "")
end

--- The data of each event in a stream's text, comments left out.
---@param text string
---@return string[]
function openai.events(text)
  local list = {}
  for data in text:gmatch("data: ?([^\n]*)\n\n") do
    list[#list + 1] = data
  end
  return list
end

return openai
