--- unsupported.lua -- which member of a request a provider refuses, so that the request can be
--- asked again without it.
local unsupported = {}

--- Without these there is no request.
local NEEDED = { model = true, messages = true, prompt = true, input = true, stream = true }

--- How refusals name a member; in lower case. The first that is found counts.
local SENTENCES = {
  "property '([%w_]+)' is unsupported",                       -- Groq
  "unsupported parameter:? ['\"`]?([%w_]+)",                  -- OpenAI
  "unknown parameter:? ['\"`]?([%w_]+)",                      -- OpenAI
  "unrecognized request argument supplied: ([%w_]+)",         -- OpenAI, long ago; Azure
  "unknown name \\?\"([%w_]+)\\?\"",                          -- Gemini
  "body%.([%w_]+): extra inputs are not permitted",           -- FastAPI: Mistral, vLLM
  "'loc': %('body', '([%w_]+)'",                              -- the same, printed by Python
  "['\"`]([%w_]+)['\"`]:? is not supported",
  "does not support ['\"`]([%w_]+)",
  "['\"`]?([%w_]+)['\"`]? is not supported by this model",
}

--- Codes that say it, with the member in param. An unsupported value is no member too many.
local CODES = { unsupported_parameter = true, unknown_parameter = true }

local STATUS = { [400] = true, [422] = true }

local function named(said)
  local message = said.message and said.message:lower() or ""
  for _, sentence in ipairs(SENTENCES) do
    local name = message:match(sentence)
    if name then return name end
  end
  local is_about_it = said.code and CODES[said.code:lower()]
    or message:find("not support", 1, true) or message:find("unsupported", 1, true)
  return is_about_it and said.param and said.param:match("^[%w_]+$")
end

--- The member's name, or nil where the refusal is about something else.
---@param status integer
---@param said table the error as error_body.lua read it
---@return string|nil
function unsupported.member(status, said)
  if not STATUS[status] then return nil end
  local name = named(said)
  return name and not NEEDED[name] and name or nil
end

return unsupported
