-- Each policy of this folder under a name of its own.
local weir = require("weir")
local at_home = require("at_home")
local clamp = require("clamp")
local count = require("count")
local first_of = require("first_of")
local flagged = require("flagged")
local go_on = require("go_on")
local mask = require("mask")
local once_more = require("once_more")
local patient = require("patient")
local shout = require("shout")
local waterfall = require("policies.waterfall")

local away = waterfall { "groq/llama-3.3-70b-versatile" }
local home = waterfall { "laptop/llama3.2" }

return {
  providers = {
    groq   = { type = "groq", key = weir.env "GROQ_API_KEY" },
    laptop = { type = "openai", base_url = "http://127.0.0.1:11434/v1" },
  },
  policy = { fetch = { "https://flags.example" } },
  models = {
    first_of  = first_of(away, home),
    at_home   = at_home(home, away),
    clamp     = clamp(away, 1000),
    once_more = once_more("groq/llama-3.3-70b-versatile", 0.5),
    count     = count(away),
    patient   = patient("groq/llama-3.1-8b-instant", "laptop/llama3.2"),
    shout     = shout(away),
    mask      = mask(away, "Project Heron"),
    flagged   = flagged({ default = away, home = home }, weir.env "FLAGS_TOKEN"),
    go_on     = go_on("groq/llama-3.3-70b-versatile", "laptop/llama3.2"),
  },
}
