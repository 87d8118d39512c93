--- outcome.lua -- what a failed attempt means: the word for it, whether another target may
--- help, and for how long this one is left alone.
---
--- The core hands over what it saw, this file judges. It is the one place that does.
local error_body = require("weir.error_body")
local host = require("weir.host")
local retry_after = require("weir.retry_after")
local outcome = {}

--- The words, each with what follows from it.
---   status    what it amounts to where the provider gave no status (an error inside a 200)
---   scope     what is at fault, and so what a cooldown covers
---   final     true: the request itself is wrong, so no other target is tried
---   cooldown  seconds; "said": what Retry-After says, else none;
---             "said or default": what it says, else the configuration's cooldown
---   alarm     somebody has to look at our configuration
local RULES = {
  rate_limited   = { status = 429, scope = "model",    cooldown = "said or default" },
  credit         = { status = 402, scope = "key",      cooldown = 3600 },
  credential     = { status = 401, scope = "key",      cooldown = 300, alarm = true },
  overloaded     = { status = 503, scope = "provider", cooldown = "said" },
  no_model       = { status = 404, scope = "model" },
  context_length = { status = 400, scope = "request" },
  content_policy = { status = 400, scope = "request",  final = true },
  client_error   = { status = 400, scope = "request",  final = true },
  bad_response   = { status = 502, scope = "model" },
  truncated      = { scope = "model" },
  timeout        = { status = 504, scope = "model" },
  reset          = { scope = "provider" },
  refused        = { scope = "provider" },
  dns            = { scope = "provider" },
  tls            = { scope = "provider", alarm = true },
  cancelled      = { scope = "request",  final = true },
}

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
  { "api key not valid", "credential" },         -- Gemini, in a 400
  { "not a valid model", "no_model" },
  { "model .*not found", "no_model" },
  { "model .*does not exist", "no_model" },
  { "model .*not available", "no_model" },
  { "not have access to .*model", "no_model" },
}
local PHRASE_STATUS = { [400] = true, [403] = true, [413] = true, [422] = true }

--- What the core says about how an attempt ended, where neither it nor the body had words.
local SENTENCES = {
  timeout = "the provider took too long",
  refused = "the provider refused the connection",
  reset = "the connection to the provider broke",
  dns = "the provider's name could not be resolved",
  tls = "no secure connection to the provider",
  truncated = "the answer ended before it was whole",
  bad_response = "the answer is none that a client could use",
  cancelled = "the client is gone",
}
local TIMEOUTS = {
  connect = "no connection within the time for it",
  head = "no answer within the time for the first content",
  first = "no content within the time for the first",
  idle = "the stream fell silent",
  total = "the answer was not whole within the time for all of it",
}
local SHAPES = {
  html = "the provider answered %s with a page of HTML",
  binary = "the provider answered %s with bytes that are no text",
  empty = "the provider answered %s without a body",
  error = "the provider answered %s without a message",
  json = "the provider answered %s without saying why",
  text = "the provider answered %s without saying why",
}

local NEVER_SENT = { refused = true, dns = true, tls = true }

local DEFAULT_COOLDOWN = 60 -- seconds; where a provider entry carries none
local MAX_MESSAGE = 500     -- bytes; enough to know the cause, too few to flood a log
local MAX_WORD = 100        -- bytes of type, param and code

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

--- The word for an attempt, and the status that it amounts to.
local function judge(raw, said)
  if raw.fault == "cancelled" then return "cancelled" end
  if raw.status and raw.status >= 300 then return by_status(raw.status, said), raw.status end
  local is_error = said.shape == "error" and (not raw.fault or raw.fault == "bad_response")
  if not is_error then return raw.fault or "bad_response", raw.status end
  local code = by_error(said)
  return code, said.status or RULES[code].status
end

local function default_message(raw, shape, code)
  local is_page = raw.status and (shape == "html" or shape == "binary")
  if is_page then return SHAPES[shape]:format(raw.status) end
  if raw.message then return raw.message end
  if raw.status and raw.status >= 300 then return SHAPES[shape]:format(raw.status) end
  return code == "timeout" and TIMEOUTS[raw.phase] or SENTENCES[code] or SENTENCES.bad_response
end

--- One line, without keys, cut between characters.
local function clean(text, max)
  if not text then return nil end
  text = host.redact(text):gsub("%s+", " "):gsub("%c", "")
  if #text <= max then return text end
  text = text:sub(1, max - 3):gsub("[\192-\255][\128-\191]*$", "")
  return text .. "…"
end

--- Whether the provider may have done the work, and so may charge for it.
local function is_ambiguous(raw)
  if not raw.fault or raw.status and raw.status >= 300 then return false end
  if raw.was_sent ~= nil then return raw.was_sent end
  return not (raw.phase == "connect" or NEVER_SENT[raw.fault])
end

local function cooldown_of(rule, raw, wait)
  if rule == "said" then return wait end
  if rule ~= "said or default" then return rule end
  return wait or raw.provider and raw.provider.cooldown or DEFAULT_COOLDOWN
end

local function wait_of(raw, said)
  local wait = retry_after.read(raw.headers, raw.now)
  local hint = raw.provider and raw.provider.retry_after
  if not wait and hint then wait = hint(raw, said) end
  return wait and math.min(wait, retry_after.MAX)
end

--- The provider module's own word on it, as a table that may be empty.
local function hints_of(raw, said)
  local classify = raw.provider and raw.provider.classify
  return classify and classify(raw, said) or {}
end

local function first_of(value, default)
  if value == nil then return default end
  return value
end

--- Reads a failed attempt. The core fills raw:
---   target, provider   "groq/llama" and its entry of the settings
---   fault              nil, or timeout refused reset dns tls truncated bad_response cancelled
---   phase              where it was: connect head first idle total body
---   was_sent           whether the request left us, where the core knows
---   status, headers    of the answer, when there was one; names in lower case
---   body               of the error, or the JSON text of an error event
---   message, now       a sentence of the core's, wall seconds
---@param raw table
---@return weir.Failure
function outcome.read(raw)
  raw.headers = raw.headers or {}
  local said = error_body.read(raw.body)
  local code, status = judge(raw, said)
  local hints = code == "cancelled" and {} or hints_of(raw, said)
  code = hints.code or code
  local rule = RULES[code] or RULES.bad_response
  local wait = wait_of(raw, said)
  local message = hints.message or said.message or default_message(raw, said.shape, code)
  return {
    code = code,
    status = status,
    message = clean(message, MAX_MESSAGE),
    type = clean(said.type, MAX_WORD),
    param = clean(said.param, MAX_WORD),
    provider_code = clean(said.code, MAX_WORD),
    retry_after = wait,
    scope = hints.scope or rule.scope,
    final = first_of(hints.final, rule.final or false),
    target = raw.target,
    cooldown = hints.cooldown or cooldown_of(rule.cooldown, raw, wait),
    alarm = rule.alarm,
    ambiguous = is_ambiguous(raw) or nil,
  }
end

return outcome
