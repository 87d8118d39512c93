--- sim_answer.lua -- what a simulated provider says: the messages of a model that answers, plain
--- and streamed, in OpenAI's shapes.
local host = require("weir.host")
local sim_answer = {}

local CREATED = 1767225600

local function sse(message)
  return "data: " .. host.json_encode(message) .. "\n\n"
end

--- The text as the pieces in which a stream brings it.
local function pieces_of(text)
  if type(text) == "table" then return text end
  local pieces = {}
  for piece in text:gmatch("%S+%s*") do pieces[#pieces + 1] = piece end
  return pieces
end

local function usage_of(answer, count)
  local given = answer.usage or {}
  local prompt, completion = given.prompt or 9, given.completion or count
  return { prompt_tokens = prompt, completion_tokens = completion,
    total_tokens = prompt + completion }
end

local function tool_call(answer)
  local tool = answer.tool
  return tool and host.json_array { {
    index = 0, id = "call_sim", type = "function",
    ["function"] = { name = tool.name, arguments = tool.arguments or "{}" },
  } }
end

local function finish_of(answer)
  return answer.finish or (answer.tool and "tool_calls" or "stop")
end

local function chunk_of(call, choices, usage)
  return sse {
    id = "chatcmpl-sim", created = CREATED, model = call.model,
    object = call.endpoint == "chat" and "chat.completion.chunk" or "text_completion",
    choices = host.json_array(choices), usage = usage,
  }
end

local function choice_of(call, delta, finish)
  local choice = { index = 0, finish_reason = finish or host.null }
  if call.endpoint == "chat" then choice.delta = delta else choice.text = delta.content or "" end
  return choice
end

local function asks_usage(call)
  local options = call.body.stream_options
  return type(options) == "table" and options.include_usage == true
end

--- The frames of a stream: head (before anything is said), pieces, tail.
---@return string[] head, string[] pieces, string[] tail
function sim_answer.stream(answer, call)
  local head, said, tail = {}, {}, {}
  local function frame(delta, finish) return chunk_of(call, { choice_of(call, delta, finish) }) end
  if call.endpoint == "chat" then head[1] = frame { role = "assistant", content = "" } end
  for _, piece in ipairs(pieces_of(answer.reasoning or {})) do
    said[#said + 1] = frame { reasoning = piece }
  end
  if answer.tool then said[#said + 1] = frame { tool_calls = tool_call(answer) } end
  for _, piece in ipairs(pieces_of(answer.text)) do said[#said + 1] = frame { content = piece } end
  tail[1] = frame({}, finish_of(answer))
  if asks_usage(call) then tail[2] = chunk_of(call, {}, usage_of(answer, #said)) end
  tail[#tail + 1] = "data: [DONE]\n\n"
  return head, said, tail
end

local function plain_choice(answer, call, text)
  local choice = { index = 0, finish_reason = finish_of(answer) }
  if call.endpoint ~= "chat" then
    choice.text = text
  else
    local reasoning = answer.reasoning and table.concat(pieces_of(answer.reasoning))
    choice.message = { role = "assistant", content = text, reasoning = reasoning,
      tool_calls = tool_call(answer) }
  end
  return choice
end

--- The whole of a plain answer.
---@return string
function sim_answer.plain(answer, call)
  if call.endpoint == "embeddings" then
    return host.json_encode { object = "list", model = call.model, data = host.json_array {
      { object = "embedding", index = 0, embedding = host.json_array { 0.25, -0.5 } },
    }, usage = { prompt_tokens = 9, total_tokens = 9 } }
  end
  local pieces = pieces_of(answer.text)
  return host.json_encode {
    id = "chatcmpl-sim", created = CREATED, model = call.model,
    object = call.endpoint == "chat" and "chat.completion" or "text_completion",
    choices = host.json_array { plain_choice(answer, call, table.concat(pieces)) },
    usage = usage_of(answer, #pieces),
  }
end

--- An error in OpenAI's shape.
---@return string
function sim_answer.error(answer, default)
  return host.json_encode { error = {
    message = answer.message or default or "a simulated error",
    type = answer.type or "server_error",
    param = answer.param or host.null,
    code = answer.code or host.null,
  } }
end

return sim_answer
