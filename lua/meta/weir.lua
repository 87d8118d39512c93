---@meta weir
--- What a policy sees, for editors. Nothing requires this file; a spec walks it against the
--- real tables, so that it cannot drift.

---A policy: from a request to a response, or nil and why there is none.
---@alias weir.Policy fun(req: weir.Request): weir.Response|weir.Reply|nil, weir.Failure|string|nil

---A filter over the events of an answer: gives back the event, another, a list of them to send
---several, or nothing to drop it.
---@alias weir.Filter fun(event: weir.Event): weir.Event|weir.Event[]|nil

---One model at one provider: "groq/llama-3.3-70b-versatile". "openrouter/*" passes the client's
---model on.
---@alias weir.Target string

---@alias weir.Commit
---| "first"    # the first event with content, reasoning, a tool call or a finish
---| "content"  # the same without reasoning
---| "whole"    # the end of the stream, when it ended well; at most 16 MiB are kept

---@alias weir.Code
---| "rate_limited"    # 429: wait
---| "overloaded"      # 503, 529: the provider has no room
---| "timeout"         # one of the four clocks ran out, or the provider says so
---| "refused"         # no connection
---| "reset"           # the connection broke
---| "dns"             # the name did not resolve
---| "tls"             # no secure connection
---| "truncated"       # the answer ended before it was whole
---| "bad_response"    # an answer that no client could use, and every other 5xx
---| "credential"      # 401, 403: our key
---| "credit"          # 402, a quota that is spent: our account
---| "no_model"        # 404: this provider or key has no such model
---| "client_error"    # 400, 413, 422: the request itself
---| "context_length"  # the request is too long for this model
---| "content_policy"  # the provider will not answer that
---| "cancelled"       # the client is gone
---| "exhausted"       # nothing was tried, as all targets are cooling
---| "policy_error"    # the policy raised

---Whose request it is; read-only. All but name are there where keys = "ledger".
---@class weir.Key
---@field name string
---@field team string|nil
---@field labels table<string, string>|nil
---@field budget_left number|nil dollars that the key, and its team, may still spend; nil: any

---The request, as a policy sees it. It lives as long as the request: later use raises.
---@class weir.Request
---@field id string the x-request-id
---@field endpoint "chat"|"completions"|"embeddings"
---@field model string what the client asked for
---@field stream boolean whether it asked for a stream
---@field key weir.Key|nil the client's key, without its text; nil where there are no keys
---@field headers table<string, string> the client's, names in lower case, without credentials; read-only
---@field generation integer the version of weir.lua that serves it
---@field body table the JSON body; reads as Lua values, a write is an edit of that one place
---@field trail weir.Attempt[] the attempts so far
local Request = {}

---The targets that are not cooling, in order; empty when all are.
---@param targets weir.Target[]
---@return weir.Target[]
---@return number|nil wait seconds until the first is back, where none is available
function Request:available(targets) end

---One attempt; waits until it commits or fails. What an earlier send gave is dropped.
---@param target weir.Target
---@param opts weir.SendOptions|nil
---@return weir.Response|nil
---@return weir.Failure|nil
function Request:send(target, opts) end

---Hedging: sends to the first target, to the next one too after so many seconds without a
---commit (or at once when one fails), and gives the first that commits. The others are cancelled.
---@param targets weir.Target[] 1 to 8
---@param opts weir.RaceOptions
---@return weir.Response|nil
---@return weir.Failure|nil
function Request:race(targets, opts) end

---Sends a copy that nobody waits for: what it is answered is one line in the log. It neither delays
---nor changes the request, and ends with the total clock.
---@param target weir.Target
---@param opts weir.SendOptions|nil
---@return boolean is_sent false: the target is cooling
function Request:shadow(target, opts) end

---An answer of the gateway's own, to be returned. Text below 300 is what a model would have
---said; text from 300 on becomes an OpenAI-shaped error; a table goes out as JSON.
---@param status integer
---@param body string|table
---@return weir.Reply
function Request:reply(status, body) end

---@class weir.SendOptions
---@field timeout weir.Timeout|nil the clocks that differ for this attempt
---@field commit weir.Commit|nil what the commit point of a stream is; of a plain answer it is its end
---@field edit (fun(body: table))|nil changes this attempt's copy of the body, after req.body's edits
---@field cooling boolean|nil true: send although the target cools; a spent limit refuses it all the same

---@class weir.RaceOptions
---@field after number seconds until the next target is tried too
---@field timeout weir.Timeout|nil the clocks that differ for these attempts
---@field commit weir.Commit|nil

---@class weir.Attempt
---@field target weir.Target
---@field code weir.Code|"ok"
---@field key integer|nil which of the provider's keys, from 1, where it has several
---@field status integer|nil
---@field ms integer how long it took
---@field retry_after number|nil seconds until this target may be tried again

---What req:reply made.
---@class weir.Reply
---@field status integer
---@field headers table<string, string>
---@field content_type string
---@field body string|table

---An attempt that came to its commit point. Returning it sends it to the client.
---@class weir.Response
---@field status integer
---@field target weir.Target who answers
---@field headers table<string, string> the provider's, names in lower case
---@field stream boolean
local Response = {}

---Adds a filter, after those that are there. Of a plain answer each text is one event.
---@param filter weir.Filter
---@return weir.Response self
function Response:map(filter) end

---Runs when a stream breaks after its commit point, with its text so far: gives a response of
---req:send whose events go on in its place, or nothing. Never inside a tool call, and never after
---the finish.
---@param fn fun(said: string, err: weir.Failure): weir.Response|nil
---@return weir.Response self
function Response:on_break(fn) end

---Runs after the last byte.
---@param fn fun(result: weir.End)
---@return weir.Response self
function Response:on_end(fn) end

---@class weir.End
---@field code string "ok", or how the stream failed
---@field first number seconds to the first content
---@field total number seconds to the last byte
---@field usage { prompt_tokens?: integer, completion_tokens?: integer, total_tokens?: integer, cached_tokens?: integer, reasoning_tokens?: integer }

---One event of an answer. A filter may keep it.
---@class weir.Event
---@field kind "content"|"reasoning"|"tool_call"|"usage"|"finish"|"error"|"role"|"other"|"done"
---@field text string|nil of content and reasoning; the one member that can be set
---@field index integer the choice's, from 0
---@field data openai.ChatCompletionChunk|openai.ChatCompletion|table|nil the message, decoded when it is read; a copy
---@field raw string the bytes as they came
---@field whole boolean a whole text of a plain answer: no other event goes on with it
local Event = {}

---A new content event of the same choice and message, with that text.
---@param text string
---@return weir.Event
function Event:copy(text) end

---Why an attempt failed. A policy may return one of its own: an unknown code with a status and a
---message is passed to the client.
---@class weir.Failure
---@field code weir.Code|string
---@field status integer|nil the provider's, or what an error inside a 200 amounts to
---@field message string one sentence, at most 500 bytes, without keys
---@field type string|nil the provider's own words
---@field param string|nil
---@field provider_code string|nil
---@field retry_after number|nil seconds that the provider asks us to wait
---@field scope "key"|"model"|"provider"|"request" what is at fault
---@field dimension weir.Dimension|nil of a rate limit: which one, where anybody said
---@field final boolean the request itself is wrong: no other target helps
---@field unsupported string|nil the member of the body that this provider does not take
---@field target weir.Target
---@field cooldown number|nil seconds for which send lets this target rest
---@field alarm true|nil somebody has to look at the configuration
---@field ratelimit table<string, string>|nil headers for the client, where they are forwarded
---@field skipped true|nil nobody was asked: the target cools, or a limit of it is spent
---@field reason string|nil of one that was skipped: why it cools
---@field other_key true|nil another of the provider's keys may try the same target, now
---@field ambiguous true|nil the provider may have done the work, and charge for it

---A key that Lua never sees: only the core reads its text. Printing it shows where it is from.
---@class weir.Secret
---@field is_set boolean whether the variable or file is there

---Holds back the end of a text until it is settled; one serves one response.
---@class weir.Window
local Window = {}

---What a filter gives back: the events that may go now. find is like string.find and also gives
---the replacement.
---@param event weir.Event
---@param find fun(text: string, init: integer): integer|nil, integer, string
---@return weir.Event|weir.Event[]|nil
function Window:map(event, find) end

---@class weir
local weir = {}

---A secret from the environment.
---@param name string
---@return weir.Secret
function weir.env(name) end

---A secret from a file, without the white space around it.
---@param path string
---@return weir.Secret
function weir.file(path) end

---Seconds of a clock that only goes forward.
---@return number
function weir.now() end

---Seconds since 1970, by the wall's clock.
---@return number
function weir.time() end

---Waits; other requests go on.
---@param seconds number
function weir.sleep(seconds) end

---@class weir.FetchRequest
---@field url string of a server that policy.fetch names
---@field method "GET"|"POST"|"PUT"|"PATCH"|"DELETE"|nil POST with a body, else GET
---@field headers table<string, string|weir.Secret>|nil
---@field bearer string|weir.Secret|nil goes as `Authorization: Bearer …`
---@field body string|table|nil a table goes as JSON
---@field timeout number|nil seconds to the answer's last byte; 5
---@field max integer|nil bytes of the answer's body; 1 MiB

---@class weir.FetchResponse
---@field status integer
---@field headers table<string, string> names in lower case
---@field body string

---Asks a server other than a provider; waits. Raises for one that `policy.fetch` does not name.
---@param request weir.FetchRequest|string a URL alone is a GET
---@return weir.FetchResponse|nil res
---@return { code: string, message: string }|nil err timeout, refused, reset, dns, tls, too_large …
function weir.fetch(request) end

---A dictionary that all workers share; it outlives workers and reloads. Bounded: old entries give
---way.
---@param name string 1 to 64 bytes
---@return weir.Shared
function weir.shared(name) end

---Adds to a counter of the policy's own, summed over all workers: weir_policy_NAME_total at
---GET /metrics. Bounded: 1024 series in all; keep labels to few values.
---@param name string lower-case letters, digits and _; not errors, the gateway's own
---@param value number|nil 1; 0 or more
---@param labels table<string, string|number|boolean>|nil 8 at most
function weir.metric(name, value, labels) end

---What all workers know of a target.
---@param name weir.Target
---@return weir.TargetState
function weir.target(name) end


---Checks the targets that a policy is made with, and remembers them, so that one that names no
---provider is found when weir.lua is loaded.
---@param list weir.Target[]
---@return weir.Target[] list
function weir.targets(list) end

---@param size integer bytes held back at most of text in which nothing is found
---@param words integer|nil hold back only so many words
---@return weir.Window
function weir.window(size, words) end

---@class weir.Log
weir.log = {}

---Each takes an event's name and its fields: texts, numbers, booleans.
---@param event string
---@param fields table<string, any>|nil
function weir.log.debug(event, fields) end

---@param event string
---@param fields table<string, any>|nil
function weir.log.info(event, fields) end

---@param event string
---@param fields table<string, any>|nil
function weir.log.warn(event, fields) end

---@param event string
---@param fields table<string, any>|nil
function weir.log.error(event, fields) end

---@class weir.Json
---@field null userdata what null reads as, and what writes it
weir.json = {}

---@param text string
---@return any value
---@return string|nil problem
function weir.json.decode(text) end

---@param value any
---@return string
function weir.json.encode(value) end

---Marks a table as a list, so that an empty one is written [].
---@generic T: table
---@param list T
---@return T list
function weir.json.array(list) end

---What weir.lua returns. Times are seconds, sizes bytes.
---@class weir.Config
---@field listen string|nil "127.0.0.1:4000"; "[::1]:4000"; ":4000" is every interface
---@field tls { cert: string, key: string }|nil PEM files, seen from weir.lua's folder; nil: plain HTTP
---@field workers integer|nil 0: one a core
---@field drain number|nil 600
---@field keys weir.Secret[]|"ledger"|nil the clients' bearer tokens, or virtual keys; without them only the loopback is served
---@field ledger weir.LedgerConfig|nil
---@field prices table<string, weir.Price>|nil by "provider/model", or model; before those that come along
---@field timeout weir.Timeout|nil
---@field cooldown number|nil 60; after a 429 that names no time
---@field limits weir.Limits|nil
---@field policy weir.PolicyConfig|nil
---@field ratelimit_headers "synthesize"|"forward"|"strip"|nil what clients learn of limits
---@field log weir.LogConfig|nil
---@field data string|nil "./data"
---@field reload { watch?: boolean }|nil true: a changed file is a reload
---@field admin weir.AdminConfig|nil
---@field providers table<string, weir.ProviderConfig>
---@field models table<string, weir.Policy> ["*"] serves every other name

---Where operators get in.
---@class weir.AdminConfig
---@field listen string|string[]|nil "unix:data/admin.sock"; "127.0.0.1:4001" beside it; both; "off"
---@field token weir.Secret|nil what the port wants as bearer token
---@field public boolean|nil true: the port may be one that other machines reach
---@field hosts string[]|nil other names that requests to the port may have in Host

---@class weir.LedgerConfig
---@field timezone string|nil "UTC"; where the days, weeks and months of budgets begin
---@field answer_tokens integer|nil 4096; that a budget reserves where the request sets no limit
---@field store weir.StoreConfig|nil none: no key may have prompts and answers stored
---@field webhook string|weir.Secret|weir.WebhookConfig|nil whom to tell of budgets: a URL

---@class weir.StoreConfig
---@field keep number|string for how long at most, in seconds or as "30d"; a key may choose less
---@field most integer|nil 262144; bytes of a request, and of its answer; what is more is cut
---@field room integer|nil 1073741824; bytes of all of them; then the oldest go

---Whom to tell that a budget runs low or is spent.
---@class weir.WebhookConfig
---@field url string|weir.Secret
---@field headers table<string, string|weir.Secret>|nil
---@field private boolean|nil true: it may be on a private network

---@class weir.Price dollars for a million tokens
---@field input number
---@field output number
---@field cached number|nil of input; as much as input
---@field reasoning number|nil of output; as much as output

---@class weir.Timeout
---@field connect number|nil 5
---@field first number|nil 60; to the first content
---@field idle number|nil 30; between two events with content
---@field total number|nil 600

---@class weir.Limits
---@field body integer|nil 16 MiB
---@field headers integer|nil 32 KiB
---@field connections integer|nil 10000
---@field in_flight integer|nil 4096
---@field head_time number|nil 10; for a request's head to be whole
---@field body_time number|nil 60; for its body
---@field idle_time number|nil 75; for a kept connection without a request
---@field stuck_time number|nil 30; for a reader that takes nothing

---@class weir.PolicyConfig
---@field on_error "closed"|"open"|nil "closed"
---@field burst number|nil 0.05; seconds of work without a wait
---@field memory integer|nil 32 MiB
---@field jit boolean|nil false
---@field check string|nil where the policies' specs are: they are run before a version serves
---@field canary weir.CanaryConfig|nil a new version serves part of the traffic first
---@field check_time number|nil 60; for all of them

---@class weir.CanaryConfig at least one of share, header and keys
---@field share number|nil of conversations; 0.05 is 5 %
---@field header string|nil requests that have this header
---@field keys string[]|nil requests of these keys, by the name that the log shows
---@field requests integer|nil 100; that the new version needs to serve all
---@field time number|nil 60; and the seconds

---@class weir.LogConfig
---@field level "debug"|"info"|"warn"|"error"|nil "info"
---@field format "logfmt"|"json"|nil "logfmt"
---@field file string|nil standard error

---@class weir.ProviderConfig
---@field type "openai"|"openrouter"|"groq"|"cerebras"|"anthropic"|"azure"|"deepseek"|"fireworks"|"gemini"|"mistral"|"nvidia"|"together"|string
---@field key weir.Secret|nil
---@field keys weir.Secret[]|nil several, in place of key: each attempt takes the one that has most left
---@field base_url string|nil the type's own
---@field headers table<string, string|weir.Secret>|nil
---@field timeout weir.Timeout|nil
---@field cooldown number|nil
---@field limits weir.ProviderLimits|nil what each key may, where the provider does not say it

---@class weir.ProviderLimits
---@field rpm integer|nil requests a minute
---@field tpm integer|nil tokens a minute
---@field rpd integer|nil requests a day
---@field tpd integer|nil tokens a day
---@field concurrent integer|nil requests at once

---What a file in lua/weir/providers/ returns; lua/weir/providers/openai.lua explains each.
---@class weir.Provider
---@field base_url string|false false: every configuration has to say it
---@field base_url_example string|nil for the message where it did not
---@field needs_key "always"|"at base_url"
---@field auth { header: string, prefix: string }
---@field headers table<string, string>
---@field timeout weir.Timeout
---@field drop string[]
---@field done "required"|"optional"
---@field include_usage boolean
---@field reports_cost boolean its usage says what it charges: usage.cost, in dollars
---@field quota_formats weir.QuotaFormat[] which response headers carry which quota
---@field classify (fun(raw: table, said: table): table|nil)|nil
---@field retry_after (fun(raw: table, said: table): number|nil)|nil

---How a provider's headers tell one quota.
---@class weir.QuotaFormat
---@field dimension weir.Dimension
---@field header string in lower case; %s stands for limit, remaining and reset
---@field longer weir.Dimension|nil what is meant where the reset is past the dimension's window
---@field scope "model"|"key"|nil "model"
---@field refills boolean|nil the reset is until all is there again, and it comes back steadily
---@field zero "unknown"|nil a remaining of 0 says nothing

---What a limit counts, and over what: r requests, t tokens, i and o those of input and output.
---@alias weir.Dimension
---| "rps"
---| "rpm"
---| "rph"
---| "rpd"
---| "rpmonth"
---| "tpm"
---| "tph"
---| "tpd"
---| "tpmonth"
---| "itpm"
---| "otpm"
---| "concurrent"

---What a provider said of a limit; what it did not say is nil.
---@class weir.Quota
---@field dimension weir.Dimension
---@field scope "model"|"key" of one model of the key, or of all its models
---@field limit integer|nil
---@field remaining integer|nil
---@field reset number|nil seconds until there is room again

---@class weir.Shared
local Shared = {}

---@param key string
---@return string|number|boolean|nil
function Shared:get(key) end

---@param key string
---@param value string|number|boolean|nil nil deletes; a string of at most 1024 bytes
---@param seconds number|nil how long it lives
function Shared:set(key, value, seconds) end

---Adds in one step, from 0 when there is nothing.
---@param key string
---@param by number|nil 1
---@param seconds number|nil how long a new entry lives
---@return number|nil sum
---@return string|nil problem
function Shared:incr(key, by, seconds) end

---@param key string
function Shared:delete(key) end

---@class weir.TargetState
local TargetState = {}

---Whether it may not be tried now: it cools, or a limit of it is spent, by all keys.
---@return number|nil seconds left; nil when it may be tried
---@return string|nil reason
function TargetState:cooling() end

---What remains of a limit, of all the provider's keys together: as its headers said and we counted.
---@param dimension weir.Dimension
---@return { remaining: integer, limit?: integer, reset?: number }|nil quota nil: nobody knows
function TargetState:quota(dimension) end

---@param seconds number
---@param reason string|nil
function TargetState:cool(seconds, reason) end
function TargetState:uncool() end

---@return number|nil seconds to the commit point, a moving average
function TargetState:latency() end

---@return integer attempts that run now, in all workers
function TargetState:inflight() end

return weir
