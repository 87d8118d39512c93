--- verdict.lua -- the word for a failed attempt: from its status, from the codes and phrases of its
--- error, and from how its connection ended.
local verdict = {}

--- What an HTTP status means; every other status of 300 and more is a bad_response.
local STATUS = {
  [400] = "client_error",
  [401] = "credential",
  [402] = "credit",
  [403] = "credential",
  [404] = "no_model",
  [408] = "timeout",
  [410] = "no_model",
  [413] = "client_error",
  [422] = "client_error",
  [429] = "rate_limited",
  [503] = "overloaded",
  [504] = "timeout",
  [524] = "timeout",    -- Cloudflare
  [529] = "overloaded", -- Anthropic
}

--- Codes and types that say more than the status they come with.
local WORDS = {
  insufficient_quota = "credit",
  credit_balance_exhausted = "credit",
  organization_spend_limit_exceeded = "credit",
  project_spend_limit_exceeded = "credit",
  organization_usage_limit_exceeded = "credit",
  enforced_spend_limit_reached = "credit",
  billing_error = "credit",
  context_length_exceeded = "context_length",
  content_filter = "content_policy",
  content_policy_violation = "content_policy",
  model_not_found = "no_model",
  model_decommissioned = "no_model",
  overloaded_error = "overloaded",
  server_is_overloaded = "overloaded",
}

--- Codes and types that count only where there is no status: in a 200.
local WORDS_IN_200 = {
  rate_limit_exceeded = "rate_limited",
  rate_limit_error = "rate_limited",
  too_many_requests = "rate_limited",
  resource_exhausted = "rate_limited",
  slow_down = "rate_limited",
  authentication_error = "credential",
  invalid_api_key = "credential",
  permission_error = "credential",
  permission_denied = "credential",
  not_found_error = "no_model",
  invalid_request_error = "client_error",
  invalid_argument = "client_error",
  request_too_large = "client_error",
  timeout_error = "timeout",
  deadline_exceeded = "timeout",
  unavailable = "overloaded",
}

--- What messages say in lower case where no code does; the third is one more status for it.
local PHRASES = {
  { "context length", "context_length" },
  { "context window", "context_length" },
  { "prompt is too long", "context_length" },
  { "input is too long", "context_length" },
  { "request too large for", "context_length", 429 }, -- Groq 413, OpenAI 429: for a minute
  { "degraded function", "overloaded" },         -- NVIDIA: its own fault, in a 400
  { "credit balance is too low", "credit" },     -- Anthropic, in a 400
  { "api key not valid", "credential" },         -- Gemini, in a 400
  { "not a valid model", "no_model" },
  { "model .*not found", "no_model" },
  { "model .*does not exist", "no_model" },
  { "model .*not available", "no_model" },
  { "not have access to .*model", "no_model" },
  { "model requires a subscription", "no_model" }, -- Ollama's cloud, in a 403
}
local PHRASE_STATUS = { [400] = true, [403] = true, [413] = true, [422] = true }

local function word_in(words, said)
  return said.code and words[said.code:lower()] or said.type and words[said.type:lower()]
end

local function phrase_in(message, status)
  if not message then return nil end
  message = message:lower()
  for _, phrase in ipairs(PHRASES) do
    local applies = PHRASE_STATUS[status] or phrase[3] == status
    if applies and message:find(phrase[1]) then return phrase[2] end
  end
end

local function by_status(status, said)
  return word_in(WORDS, said) or phrase_in(said.message, status) or STATUS[status] or "bad_response"
end

--- An error inside a 200: its code, else its type, says what it would have been.
local function by_error(said)
  local word = word_in(WORDS, said) or word_in(WORDS_IN_200, said)
  return word or said.status and by_status(said.status, said) or "bad_response"
end

--- The word for an attempt; and the status that it amounts to, where that was said.
---@param raw table as outcome.read has it
---@param said table the error as error_body.lua read it
---@return weir.Code code
---@return integer|nil status
---@return true|nil in_200 it is an error inside a 200, whose status the word decides
function verdict.judge(raw, said)
  if raw.fault == "cancelled" then return "cancelled" end
  if raw.status and raw.status >= 300 then return by_status(raw.status, said), raw.status end
  local is_error = said.shape == "error" and (not raw.fault or raw.fault == "bad_response")
  if not is_error then return raw.fault or "bad_response", raw.status end
  return by_error(said), said.status, true
end

return verdict
