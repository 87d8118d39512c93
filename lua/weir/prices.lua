--- prices.lua -- what a million tokens cost, in US dollars: an example for policies/cheapest.lua.
---
--- From the providers' public price pages (openai.com/api/pricing, groq.com/pricing) as they
--- stood in the middle of 2025. Prices change: give cheapest your own, as opts.prices.
return {
  ["gpt-4o"] = { input = 2.50, output = 10.00 },
  ["gpt-4o-mini"] = { input = 0.15, output = 0.60 },
  ["gpt-4.1"] = { input = 2.00, output = 8.00 },
  ["gpt-4.1-mini"] = { input = 0.40, output = 1.60 },
  ["gpt-4.1-nano"] = { input = 0.10, output = 0.40 },
  ["llama-3.1-8b-instant"] = { input = 0.05, output = 0.08 },
  ["llama-3.3-70b-versatile"] = { input = 0.59, output = 0.79 },
}
