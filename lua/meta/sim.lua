---@meta weir.sim
--- What a spec of policies sees, for editors: require "weir.sim" under weir test. Nothing requires
--- this file; a spec walks it against the real table, so that it cannot drift.

---A request that is played. What is left out is a short chat.
---@class weir.sim.Request
---@field model string|nil "default"
---@field stream boolean|nil
---@field messages table[]|nil
---@field body table|string|nil further members, or the whole text
---@field endpoint "chat"|"completions"|"embeddings"|nil "chat"
---@field headers table<string, string>|nil
---@field key string|nil the name of the client's key
---@field leaves number|nil seconds after which the client is gone
---@field at number|nil seconds after which it begins, for sim.all

---What came of it.
---@class weir.sim.Result
---@field id string the x-request-id
---@field status integer 0 when the client left before anything came
---@field headers table<string, string> names in lower case
---@field body string as it came
---@field json any a plain body, decoded
---@field events (table|string)[] of a stream, decoded; "[DONE]" as it is
---@field text string what the first choice says
---@field reasoning string what it thinks
---@field error table|nil of a plain body, or of the last event that has one
---@field ended "complete"|"cut"|"left"|"none"
---@field code string|nil the word of the request's log line: "ok", "timeout", …
---@field target weir.Target|nil who answered
---@field targets weir.Target[] who was tried, in order
---@field trail { target: string, code: string, status: integer|nil, message: string|nil }[]
---@field first number|nil seconds until the client's response began
---@field seconds number|nil seconds until it ended
---@field log table[] the log's lines about it, decoded

---What a provider was sent.
---@class weir.sim.Call
---@field provider string
---@field target weir.Target
---@field endpoint "chat"|"completions"|"embeddings"
---@field model string
---@field stream boolean
---@field body table
---@field text string the body as it went out
---@field headers table<string, string>
---@field timeout weir.Timeout
---@field at number when, by weir.now()

---How a provider answers. What does not concern the answer is left aside.
---@class weir.sim.Answer
---@field text string|string[]|nil what is said; a list: piece by piece
---@field reasoning string|string[]|nil
---@field tool { name: string, arguments: string|nil }|nil
---@field finish string|nil
---@field usage { prompt: integer|nil, completion: integer|nil }|nil
---@field message string|nil of an error; and its type, code and param
---@field type string|nil
---@field code string|nil
---@field param string|nil
---@field retry_after number|string|nil
---@field headers table<string, string>|nil
---@field body any
---@field status integer|nil
---@field content_type string|nil
---@field after integer|"head"|nil pieces of a stream before its fault
---@field connect number|nil seconds until the connection stands
---@field latency number|nil seconds until the head
---@field interval number|nil seconds before each piece

---A scripted provider. Without a script it answers "Hello from NAME".
---@class weir.sim.Provider
---@field name string
---@field asked weir.sim.Call[]
local Provider = {}

---The answer to the next request; the last one stays.
---@param what integer|"stream"|"json"|"raw"|"error"|"html"|"empty"|"stall"|"refused"|"reset"|"truncated"|"dns"|"tls"|"unreachable"|fun(call: weir.sim.Call): any, any, any
---@param body any|weir.sim.Answer
---@param options weir.sim.Answer|nil
---@return weir.sim.Provider self
function Provider:answers(what, body, options) end

---@class weir.sim
local sim = {}

---@param name string
---@param options weir.ProviderConfig|nil of its entry in a weir.lua, for sim.run
---@return weir.sim.Provider
function sim.provider(name, options) end

---A server that weir.fetch asks; naming it allows it. Where nothing was scripted nobody listens.
---@param url string like "https://flags.example"
---@return weir.sim.Provider
function sim.host(url) end

---Loads a weir.lua, for sim.request.
---@param path string|nil the one above the spec
---@return table settings
function sim.config(path) end

---Members of a weir.lua that count for sim.run: timeout, cooldown, policy, limits.
---@param members table
function sim.settings(members) end

---Plays a request through a policy.
---@param policy weir.Policy
---@param request weir.sim.Request|nil
---@return weir.sim.Result
function sim.run(policy, request) end

---Plays several at once.
---@param policy weir.Policy
---@param requests weir.sim.Request[]
---@return weir.sim.Result[]
function sim.all(policy, requests) end

---Plays a request for a model of the weir.lua.
---@param request weir.sim.Request|nil
---@return weir.sim.Result
function sim.request(request) end

---Time goes on: cooldowns run out.
---@param seconds number
function sim.sleep(seconds) end

---Lets a target, or a provider's key, rest.
---@param target weir.Target|string
---@param seconds number
---@param reason string|nil "rate_limited"
function sim.cool(target, seconds, reason) end

---Every request that left, to whichever provider, in order.
---@return weir.sim.Call[]
function sim.asked() end

---The log of the last requests, decoded.
---@return table[]
function sim.log() end

---What weir.metric has counted, by series.
---@return table<string, number>
function sim.metrics() end

---A new world; weir test calls it before each test.
function sim.reset() end

---The project of a folder; weir test calls it.
---@param folder string with its slash, or ""
---@param path string|nil of its configuration
---@return table
function sim.open(folder, path) end

return sim
