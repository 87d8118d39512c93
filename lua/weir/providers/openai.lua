--- openai.lua -- the base of all providers: OpenAI itself and any server that speaks its API.
---
--- A member that another provider does not name, it takes from here.
return {
  base_url = "https://api.openai.com/v1",

  --- "always", or "at base_url": only where the base URL above is used, since a server at
  --- home mostly asks for none.
  needs_key = "at base_url",

  --- The header that carries the key, and what stands before it.
  auth = { header = "authorization", prefix = "Bearer " },

  --- Headers that every request carries; a configuration's own are added.
  headers = {},

  --- Times in seconds that differ from the configuration's defaults.
  timeout = {},

  --- Top-level members of a request that this provider refuses: taken out.
  drop = {},

  --- Whether a stream that ends without [DONE] was cut. "optional" is right for servers
  --- that close after the finish_reason.
  done = "optional",

  --- Whether it understands stream_options.include_usage.
  include_usage = true,
  reports_cost = false,

  --- Which response headers carry which quota: quota.lua tells the members.
  quota_formats = {
    { dimension = "rpm", header = "x-ratelimit-%s-requests", refills = true },
    { dimension = "tpm", header = "x-ratelimit-%s-tokens" },
    { dimension = "tpm", header = "x-ratelimit-%s-tokens_usage_based" },
  },

  --- classify(raw, said) -> err members that differ from outcome.lua's reading, or nil.
  --- retry_after(raw, said) -> seconds, where no Retry-After header says them, or nil.
  --- raw: the attempt as the core saw it; said: the error body as error_body.lua read it.
}
