---@meta openai
--- The messages of OpenAI's chat API as event.data holds them: what the API's reference says, and
--- where real servers differ from it. null reads as weir.json.null.

---One event of a stream.
---@class openai.ChatCompletionChunk
---@field id string the same in every chunk of an answer
---@field object "chat.completion.chunk"
---@field created integer seconds since 1970; the same in every chunk
---@field model string what the provider calls the model that answers
---@field choices openai.ChunkChoice[] empty in the chunk that brings the usage; some servers send usage beside choices, or in every chunk
---@field usage openai.Usage|userdata|nil null until the last chunk when include_usage was asked for; else absent
---@field system_fingerprint string|userdata|nil the configuration that ran; absent at many servers
---@field service_tier string|userdata|nil
---@field error openai.Error|nil OpenRouter: an error in mid-stream, with finish_reason "error"
---@field x_groq { id?: string, usage?: openai.Usage }|nil Groq: usage in the chunk that finishes
---@field provider string|nil OpenRouter: who answers behind it

---@class openai.ChunkChoice
---@field index integer from 0; one for each of n answers
---@field delta openai.Delta
---@field finish_reason openai.FinishReason|userdata|nil null until the choice ends
---@field logprobs table|userdata|nil

---@alias openai.FinishReason
---| "stop"           # it said all, or came to a stop sequence; Gemini says this for tool calls too
---| "length"         # max_tokens, or the context is full
---| "tool_calls"     # it waits for the tools' answers
---| "content_filter" # the provider took the rest away
---| "function_call"  # of old
---| "error"          # OpenRouter: the provider behind it failed

---What is new since the chunk before. Often only the role, or nothing.
---@class openai.Delta
---@field role "assistant"|nil in the first chunk
---@field content string|userdata|nil a piece of the answer; Mistral may send a list of parts
---@field reasoning_content string|userdata|nil a piece of the thinking: DeepSeek, vLLM
---@field reasoning string|userdata|nil the same: OpenRouter, Groq, Ollama
---@field refusal string|userdata|nil a piece of why it will not answer
---@field tool_calls openai.ToolCallDelta[]|nil

---A piece of a tool call. Only the first piece of a call has its id, type and name; later ones go
---on with the arguments of the same index.
---@class openai.ToolCallDelta
---@field index integer|nil which call of this answer; Gemini leaves it out
---@field id string|nil
---@field type "function"|nil
---@field function { name?: string, arguments?: string }|nil arguments are pieces of JSON text, cut anywhere

---@class openai.Usage
---@field prompt_tokens integer
---@field completion_tokens integer thinking included
---@field total_tokens integer
---@field prompt_tokens_details { cached_tokens?: integer, audio_tokens?: integer }|userdata|nil
---@field completion_tokens_details { reasoning_tokens?: integer, audio_tokens?: integer, accepted_prediction_tokens?: integer, rejected_prediction_tokens?: integer }|userdata|nil
---@field cost number|nil OpenRouter: in its credits
---@field queue_time number|nil Groq: seconds
---@field prompt_time number|nil Groq: seconds
---@field completion_time number|nil Groq: seconds
---@field total_time number|nil Groq: seconds

---A plain answer.
---@class openai.ChatCompletion
---@field id string
---@field object "chat.completion"
---@field created integer seconds since 1970
---@field model string
---@field choices openai.Choice[]
---@field usage openai.Usage|nil
---@field system_fingerprint string|userdata|nil
---@field service_tier string|userdata|nil

---@class openai.Choice
---@field index integer from 0
---@field message openai.Message
---@field finish_reason openai.FinishReason
---@field logprobs table|userdata|nil

---@class openai.Message
---@field role "assistant"
---@field content string|userdata|nil null where it only calls tools
---@field reasoning_content string|userdata|nil DeepSeek, vLLM
---@field reasoning string|userdata|nil OpenRouter, Groq, Ollama
---@field refusal string|userdata|nil
---@field tool_calls openai.ToolCall[]|nil

---@class openai.ToolCall
---@field id string
---@field type "function"
---@field function { name: string, arguments: string } arguments are JSON text, which may be none

---What stands in { "error": … }.
---@class openai.Error
---@field message string
---@field type string|userdata|nil
---@field param string|userdata|nil the member of the request that is at fault
---@field code string|integer|userdata|nil a word; OpenRouter: the HTTP status
---@field metadata table|nil OpenRouter: provider_name, raw, reasons
