-- Ask the second provider too when the first shows nothing for two seconds.
local hedge = require("policies.hedge")

return hedge { "groq/llama-3.3-70b-versatile", "cerebras/llama-3.3-70b", after = 2 }
