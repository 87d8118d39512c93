--- outcome.lua -- what a failed attempt means: the word for it, whether another target may
--- help, and for how long this one is left alone.
---
--- The core hands over what it saw, this file judges. It is the one place that does.
local cooldown = require("weir.cooldown")
local error_body = require("weir.error_body")
local host = require("weir.host")
local ratelimit = require("weir.ratelimit")
local unsupported = require("weir.unsupported")
local verdict = require("weir.verdict")
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

local MAX_MESSAGE = 500     -- bytes; enough to know the cause, too few to flood a log
local MAX_WORD = 100        -- bytes of type, param and code

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

local function rest_of(rule, raw, said, wait, limited)
  if rule == "said" then return wait end
  if rule ~= "said or default" then return rule end
  return wait or cooldown.default(raw, said, limited)
end

--- The provider module's own word on it, as a table that may be empty.
local function hints_of(raw, said)
  local classify = raw.provider and raw.provider.classify
  return classify and classify(raw, said) or {}
end

--- What of the answer's headers a client gets when this failure is its own 429.
local function forwarded(raw, code)
  local is_wanted = raw.provider and raw.provider.ratelimit_headers == "forward"
  return is_wanted and code == "rate_limited" and ratelimit.forwarded(raw.headers) or nil
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
  local code, status, in_200 = verdict.judge(raw, said)
  if in_200 then status = status or RULES[code].status end
  local hints = code == "cancelled" and {} or hints_of(raw, said)
  code = hints.code or code
  local rule = RULES[code] or RULES.bad_response
  local spent, limited
  if code == "rate_limited" then spent, limited = cooldown.limit(raw, said) end
  limited = hints.dimension or limited
  local wait = cooldown.said(raw, said, spent)
  local member = code == "client_error" and unsupported.member(status, said) or nil
  local message = hints.message or said.message or default_message(raw, said.shape, code)
  return {
    code = code,
    status = status,
    message = clean(message, MAX_MESSAGE),
    type = clean(said.type, MAX_WORD),
    param = clean(said.param, MAX_WORD),
    provider_code = clean(said.code, MAX_WORD),
    retry_after = wait,
    scope = hints.scope or spent and spent.scope or rule.scope,
    dimension = limited,
    final = first_of(hints.final, not member and rule.final or false),
    unsupported = member,
    target = raw.target,
    cooldown = hints.cooldown or rest_of(rule.cooldown, raw, said, wait, limited),
    alarm = rule.alarm,
    ratelimit = forwarded(raw, code),
    ambiguous = is_ambiguous(raw) or nil,
  }
end

return outcome
