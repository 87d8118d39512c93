// The price table of tools/update-prices as Lua: node update-prices.cjs PACKAGE VERSION DATE
const [folder, version, date] = process.argv.slice(2);
const { findProvider } = require(folder);

// Weir's provider types, and what the table calls them.
const providers = {
  anthropic: "anthropic", azure: "azure", cerebras: "cerebras", deepseek: "deepseek",
  fireworks: "fireworks", gemini: "google", groq: "groq", mistral: "mistral", openai: "openai",
  openrouter: "openrouter", together: "together",
};

// Where a price depends on the hour or the length, the dearest counts: a budget must hold.
function dearest(price) {
  if (price === undefined || typeof price === "number") return price;
  return Math.max(price.base, ...price.tiers.map((tier) => tier.price));
}

function pricesOf(model) {
  const list = Array.isArray(model.prices) ? model.prices : [{ prices: model.prices }];
  const now = list.filter((entry) => (entry.constraint?.start_date ?? "") <= date);
  const dated = now.filter((entry) => entry.constraint?.start_date);
  const chosen = dated.length ? [dated[dated.length - 1]] : now;
  const most = (name) => {
    const all = chosen.map((entry) => dearest(entry.prices[name])).filter((p) => p !== undefined);
    return all.length ? Math.max(...all) : undefined;
  };
  return { input: most("input_mtok"), cached: most("cache_read_mtok"), output: most("output_mtok") };
}

// The names that mean exactly this model.
function namesOf(model) {
  const names = new Set([model.id]);
  const walk = (match) => {
    if (match?.equals) names.add(match.equals);
    (match?.or ?? []).forEach(walk);
  };
  walk(model.match);
  return [...names].filter((name) => /^[\x21-\x7e]+$/.test(name) && !/["\\]/.test(name));
}

const entries = new Map();
for (const [type, providerId] of Object.entries(providers)) {
  for (const model of findProvider({ providerId })?.models ?? []) {
    const price = pricesOf(model);
    if (model.deprecated || price.input === undefined) continue;
    const fields = [price.input, price.output ?? 0, price.cached ?? price.input];
    for (const name of namesOf(model)) entries.set(`${type}/${name}`, fields.join(" "));
  }
}

console.log(`--- prices.lua -- what a million tokens cost, in US dollars, by provider type and model.
---
--- Written by tools/update-prices from the npm package @pydantic/genai-prices ${version} (MIT), of
--- ${date}; not by hand. weir.lua's own prices come first. One text, as a table of so
--- many tables would be in each generation's memory; price.lua reads it.
return {
  source = "@pydantic/genai-prices ${version}", date = "${date}",
  -- provider type and model, input, output, cached input
  list = [[
`); // Lua leaves the first newline out: the second begins the first name's line
for (const name of [...entries.keys()].sort()) console.log(`${name} ${entries.get(name)}`);
console.log("]],\n}");
